"""Files appear whole or not at all; nobody else's are touched, and all is on the disk in time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paddy_lightning.atomic import set_aside, write_json, written_whole

DEAD = 2**22  # above the largest number of a process on Linux


def test_only_leftovers_of_the_very_file_are_removed(tmp_path: Path) -> None:
    ours = tmp_path / f".summary.json.{DEAD}.part"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        kept = [
            tmp_path / f".summary.json.{alive.pid}.part",
            tmp_path / ".thesis.zip.part",
            tmp_path / f".thesis.zip.{DEAD}.part",
            tmp_path / f".summaryxjson.{DEAD}.part",
            tmp_path / ".summary.json.x1.part",
            tmp_path / ".summary.json.part",
            tmp_path / f"summary.json.{DEAD}.part",
            tmp_path / "Downloads" / f".summary.json.{DEAD}.part",
            tmp_path / f".summary.json.{DEAD + 1}.part" / "in a folder",
        ]
        for path in (ours, *kept):
            path.parent.mkdir(exist_ok=True)
            path.write_text("half")
        link = tmp_path / f".summary.json.{DEAD + 2}.part"
        link.symlink_to(kept[1])
        write_json(tmp_path / "summary.json", {"status": "done"})
        alive.communicate(b"\n")
    assert not ours.exists()
    assert [path for path in kept if not path.is_file()] == [] and link.is_symlink()


def test_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content, then the name, then the folder that holds the name."""
    happened: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        happened.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def recorded_replace(path: Path, target: Path) -> Path:
        happened.append(f"rename to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    with written_whole(tmp_path / "table.csv") as temporary:
        temporary.write_text("file,label\n")
    assert happened == [f"sync {temporary.name}", "rename to table.csv", f"sync {tmp_path.name}"]


def test_any_path_comes_back_from_json(tmp_path: Path) -> None:
    told = {"run_dir": os.fsdecode(b"caf\xe9 \\ \xc3\xa9 '\""), "text": "\u7a32 \x00"}
    write_json(tmp_path / "summary.json", told)
    assert json.loads((tmp_path / "summary.json").read_text("utf-8")) == told


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyError), written_whole(path) as temporary:
        temporary.write_text("new")
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_is_set_aside_overwrites_nothing(tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    assert set_aside(table) is None
    for number in range(1, 4):
        table.write_text(str(number))
        assert set_aside(table) == tmp_path / f"predictions.{number}.csv"
    assert [(tmp_path / f"predictions.{n}.csv").read_text() for n in (1, 2, 3)] == ["1", "2", "3"]
