"""A run folder is one run's, one process's, and right from wherever it is read."""

import errno
import io
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.cli.children import child_environment
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import TakenError, UserError
from paddy_lightning.insight.interpret import interpret
from paddy_lightning.locks import alone
from paddy_lightning.runs.run_folder import (
    LOCK,
    from_anywhere,
    locked,
    moved,
    new_run_folder,
    save_config,
    whole_config,
)
from paddy_lightning.runs.summary import command, read_summary, summarised
from paddy_lightning.training.train import find_lr, resume, train

Script = Callable[..., "subprocess.CompletedProcess[str]"]
NOWHERE = DataConfig(Source.folder, "nowhere")
IMPOSSIBLE = TrainConfig(NOWHERE, arch="resnet10t", weights="none", num_workers=0)


@pytest.mark.parametrize("begin", [train, find_lr])
def test_a_second_start_is_refused_before_data_is_read(
    begin: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with locked(run):
        with pytest.raises(TakenError, match="run: is being trained by another process"):
            begin(IMPOSSIBLE, run)
        save_config(run, IMPOSSIBLE)
        (run / "summary.json").write_text(json.dumps({"status": "done"}))
        for use in (resume, interpret):
            with pytest.raises(TakenError, match="is being trained by another process"):
                use(run)
    with pytest.raises(TakenError, match="holds a run already"):
        begin(IMPOSSIBLE, run)


def test_the_command_writes_nothing_into_a_folder_in_use(
    run_script: Script, stripes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with locked(run):
        words = (f"data.root={stripes}", "weights=none", "hydra.run.dir=run")
        result = run_script("train", *words)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
        assert "run: is being trained by another process" in result.stderr
        assert [path.name for path in run.iterdir()] == [LOCK]


def test_a_lock_left_by_a_process_that_died_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    with new_run_folder(tmp_path) as run:
        assert run == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_refused_run_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run_dir in (None, Path("runs", "first")):
        with pytest.raises(UserError, match="nowhere"):
            train(IMPOSSIBLE, run_dir)
        assert not list(tmp_path.iterdir())
    Path("runs").mkdir()
    Path("runs", "notes.txt").touch()
    with pytest.raises(UserError, match="nowhere"):
        train(IMPOSSIBLE, "runs")
    assert [path.name for path in Path("runs").iterdir()] == ["notes.txt"]


def test_only_one_at_a_time_though_the_file_comes_and_goes(tmp_path: Path) -> None:
    inside, most, times = [0], [0], [0]

    def enter_often() -> None:
        for _ in range(100):
            try:
                with alone(tmp_path / LOCK, "taken"):
                    inside[0] += 1
                    most[0], times[0] = max(most[0], inside[0]), times[0] + 1
                    time.sleep(0.0002)
                    inside[0] -= 1
            except TakenError:
                pass

    threads = [threading.Thread(target=enter_often) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and times[0] > 20
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "number"),
    [("fcntl.flock", errno.ENOLCK), ("filelock.FileLock.acquire", errno.EROFS)],
)
def test_without_locks_it_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
    number: int,
) -> None:
    """Some network mounts have none; where nothing can be written, nobody else can begin."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(what, refuse)
    with new_run_folder(tmp_path / "run"):
        pass
    assert ("no lock can be had" in caplog.text) == (number == errno.ENOLCK)
    assert not list(tmp_path.iterdir())


def test_a_config_is_right_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(
        DataConfig(Source.folder, "P"), start="runs/a", cache="~/c", weights="w.pt"
    )
    found = DataConfig(Source.folder, str(tmp_path / "P"))
    whole = from_anywhere(config, found)
    assert (whole.data, whole.start) == (found, str(tmp_path / "runs" / "a"))
    assert whole.weights == str(tmp_path / "w.pt") and whole.cache == str(Path.home() / "c")
    words = from_anywhere(TrainConfig(weights="none", cache="off"), found)
    assert (words.weights, words.cache, words.start) == ("none", "off", None)
    monkeypatch.chdir("/")
    assert from_anywhere(whole, found) == whole


def test_what_is_told_beside_resume(tmp_path: Path) -> None:
    own = TrainConfig(
        DataConfig(Source.folder, "/old", "/old/tables/t.csv"), trainer={"devices": 2}, lr=1e-3
    )
    save_config(tmp_path, own)
    told = TrainConfig(DataConfig(root="/new"), resume=str(tmp_path), num_workers=3, lr=1.0)
    told.trainer = {"accelerator": "cpu"}
    whole = whole_config(told)
    assert whole.data == DataConfig(Source.folder, "/new", "/new/tables/t.csv")
    assert (whole.lr, whole.num_workers) == (1e-3, 3)
    assert whole.trainer == {"devices": 2, "accelerator": "cpu"}
    assert whole_config(TrainConfig(resume=str(tmp_path))) == own
    elsewhere = DataConfig(Source.folder, "/old", "/tables/t.csv")
    assert moved(elsewhere, DataConfig(root="/new")).csv == "/tables/t.csv"
    assert moved(elsewhere, DataConfig(csv="/t.csv")) == DataConfig(Source.folder, "/old", "/t.csv")


def test_a_file_is_no_run_folder(run_script: Script, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.touch()
    with pytest.raises(UserError, match=r"notes\.txt: is a file; name a folder"):
        train(IMPOSSIBLE, file)
    with pytest.raises(UserError, match="choose another"):
        train(IMPOSSIBLE, tmp_path / os.fsdecode(b"caf\xe9"))
    for folder in (file, file / "below"):
        result = run_script("train", "weights=none", f"hydra.run.dir={folder}")
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
        assert "notes.txt" in result.stderr and "name a folder" in result.stderr


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\0"])
def test_a_summary_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary\.json: cannot be read"):
        read_summary(tmp_path)


def test_the_command_is_what_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not what became of it on the way to Hydra."""
    monkeypatch.setattr("sys.argv", ["train", "data.root='P'"])
    monkeypatch.setenv("PADDY_COMMAND", "paddy train data.root=P")
    assert command() == "paddy train data.root=P"
    assert "PADDY_COMMAND" not in child_environment()  # a sweep's job is a command of its own


def test_ctrl_c_while_a_checkpoint_is_written_is_ctrl_c(tmp_path: Path) -> None:
    """Not a full disk, which is what torch makes of it."""

    class Interrupted(io.BytesIO):
        def write(self, content: Any) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), summarised(tmp_path, {}):
        torch.save({"weights": torch.zeros(1000)}, Interrupted())
    assert read_summary(tmp_path)["status"] == "interrupted"
