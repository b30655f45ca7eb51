"""What needs no fastai: who is timed when, what is written where, what travels, which photos."""

import hashlib
import multiprocessing
import shutil
import time
import tomllib
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from small import small

from benchmarks import (
    bean,
    gpu,
    kept_epoch,
    label_issues,
    results,
    strange,
    unfamiliar,
    wheels,
    whole_commands,
)
from benchmarks import pictures as drawn
from benchmarks.apart import Apart
from benchmarks.paired import Other, alone, in_turn
from paddy_lightning.choices import DataConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.training.train import train


def test_each_side_begins_in_turn_and_the_first_round_does_not_count() -> None:
    called: list[str] = []

    def way(name: str) -> Other:
        return Other(name, lambda: called.append(name))

    pairs = in_turn(lambda: called.append("ours"), [way("one"), way("other")], 3, 10)
    rounds = ["".join(name[:3] for name in called[i : i + 3]) for i in range(0, 12, 3)]
    assert rounds == ["ouroneoth", "oneothour", "othourone", "ouroneoth"]
    assert [pair.other.what for pair in pairs] == ["one", "other"]
    assert all(len(pair.ours) == len(pair.theirs) == 3 for pair in pairs)


def test_a_way_may_have_a_clock_of_its_own_and_no_other() -> None:
    pair = alone("load", lambda: 2.0, rounds=2, images=100)
    assert pair.row() == {
        "measurement": "load",
        "other": "",
        "this": "2.00 s (50.0/s)",
        "ratio": "",
        "spread": "",
        "aim": "",
    }


class Side:
    """Waits, and looks at how processes are started."""

    def wait(self) -> None:
        time.sleep(0.2)

    def compare(self, method: str) -> None:
        assert multiprocessing.get_start_method() == method


def test_a_side_has_a_process_and_a_clock_of_its_own() -> None:
    with Apart(Side) as side:
        assert side.timed("wait")() >= 0.2
        side.timed("compare", multiprocessing.get_start_method())()
        with pytest.raises(EOFError):  # it has told why
            side.timed("compare", "another")()


def test_what_is_measured_on_a_gpu_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In small, and here on whatever device there is; the page is written as with one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(drawn, "TRAIN", 4)
    monkeypatch.setattr(drawn, "VALID", 4)
    setting = ("resnet10t", (48, 40), (32, 32))
    scale = gpu.Scale(str(tmp_path / "cache"), 64, 8, 1, (setting,))
    if not torch.cuda.is_available():
        assert gpu.main(scale) == 0 and not gpu.PAGE.exists()
        told = capsys.readouterr().out.splitlines()
        assert len(told) == len(gpu.PARTS) and all("there is no CUDA device" in t for t in told)
    monkeypatch.setattr(gpu, "CUDA", True)
    monkeypatch.setattr(gpu, "machine", lambda precisions: f"A machine, {precisions}.")
    monkeypatch.setattr(gpu, "peak_mb", lambda work: [work(), 7.0][1])
    monkeypatch.setattr(gpu, "has_fastai", lambda: False)
    assert gpu.main(scale) == 0
    page = gpu.PAGE.read_text()
    assert "seconds in all" in page and "7 MB" in page and "forward" in page
    assert page.count("against the bare model") >= 4 and "| the loader alone, 48x40" in page


def test_whole_commands_run_as_typed(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours: a run with and without presized pictures, predictions by it, and a sweep."""
    monkeypatch.setattr(whole_commands, "SEEDS", ("1", "2"))
    for part in ("train", "valid"):
        (tmp_path / part).symlink_to(stripes / "train_images")
    settings = {"arch": "resnet10t", "presize": 48, "size": 32, "epochs": 0, "batch_size": 16}
    ours = whole_commands.Ours(tmp_path, tmp_path / "place", settings)
    for cold in (True, False):
        ours.train(cold)
    ours.predict(stripes / "test_images" / "200000.jpg")
    ours.predict(stripes / "test_images")
    ours.predict(stripes / "test_images", ours.export())
    files = {path.name for path in ours.run.iterdir()}
    assert {"summary.json", *(f"predictions{n}.csv" for n in ("", ".1", ".2"))} <= files
    for way in (ours.sweep, ours.in_one_process):
        way()
        assert len(list(ours.run.glob("*/summary.json"))) == len(whole_commands.SEEDS)


def test_strange_pictures_are_found_among_own_ones(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn ones are the same every time; a run of few pictures is judged by every score."""
    monkeypatch.setattr(strange, "COUNT", 4)
    kinds = strange.draw_all(tmp_path / "a")
    again = strange.draw_all(tmp_path / "b")
    for kind, folder in kinds.items():
        assert [file.read_bytes() for file in sorted(folder.iterdir())] == [
            file.read_bytes() for file in sorted(again[kind].iterdir())
        ]
    train(small(stripes, folds=2, fold=0, epochs=0), tmp_path / "run")
    table = unfamiliar.judged(tmp_path / "run", kinds, tmp_path / "changed")
    assert list(table)[-4:] == ["dim", "unsharp", "turned", unfamiliar.OWN]
    areas = table.iloc[:-1].drop(columns=unfamiliar.OWN).to_numpy()
    assert ((areas >= 0) & (areas <= 1)).all()


def test_what_travels_to_a_gpu_is_all_that_is_lacking_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of our requirements and theirs, what a machine with torch has not, with hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    lacking: set[str] = set()
    while asked:
        need = Requirement(asked.pop())
        name, extra = canonicalize_name(need.name), {"python_version": "3.12", "extra": ""}
        if name in wheels.THERE | lacking or (need.marker and not need.marker.evaluate(extra)):
            continue
        lacking.add(name)
        asked += requires(name) or []
    assert lacking == set(wheels.LOCKED)
    monkeypatch.chdir(ROOT)
    assert {line.split("==")[0] for line in wheels.locked().splitlines() if "==" in line} == lacking
    assert wheels.locked().count("--hash=") >= len(lacking)


def test_wheels_that_may_not_travel_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.whl").write_bytes(b" " * 2**20)
    wheels.tell(tmp_path)
    assert "  1.00 MB  one.whl" in capsys.readouterr().out
    with (tmp_path / "other.whl").open("wb") as file:
        file.truncate(60 * 2**20)
    with pytest.raises(SystemExit, match="more than 60 MB"):
        wheels.tell(tmp_path)


def test_readme_gets_what_has_an_aim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "README.md", tmp_path)
    rows = [
        {"measurement": "fast", "ratio": "**2.00**", "aim": "at least 1"},
        {"measurement": "straw man", "ratio": "**25.26**", "aim": ""},
    ]
    for _ in range(2):  # it can be written again
        results.write(pd.DataFrame(rows), ["a note"], "A machine.", 3)
    page, whole = Path("README.md").read_text(), results.RESULTS.read_text()
    assert "A machine. 3 minutes in all;" in whole and "straw man" in whole and "a note" in whole
    assert "| fast " in page and "straw man" not in page and "at least 1" not in page
    before, after = (ROOT / "README.md").read_text(), page
    for text in (before, after):
        assert [text.count(mark) for mark in results.MARKS] == [1, 1]
    assert before.split(results.MARKS[0])[0] == after.split(results.MARKS[0])[0]
    assert before.split(results.MARKS[1])[1] == after.split(results.MARKS[1])[1]


def test_the_photos_of_the_comparison_are_found_by_content(photos: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted((photos / "bean").glob("*/*.jpg"), reverse=True)):
        (tmp_path / "all" / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / f"{number % 7}" / f"{number}.jpg").symlink_to(file)
    bean.pick(tmp_path / "all", tmp_path / "bean")
    for folder in (photos / "bean", tmp_path / "bean"):
        told = [
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}"
            for file in sorted(folder.glob("*/*.jpg"))
        ]
        assert told == bean.LIST.read_text().splitlines()


def test_a_photo_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="390 of the photos are not there, such as angular_leaf"):
        bean.pick(tmp_path, tmp_path / "bean")


def test_swapped_labels_are_as_many_as_asked_and_the_same_each_time() -> None:
    files = pd.Series([f"{label}/{number}.jpg" for label in "abc" for number in range(20)])
    labels = label_issues.swapped(files, 0.1, seed=1)
    assert (labels != label_issues.true_labels(files)).sum() == 6 and set(labels) == set("abc")
    assert labels.equals(label_issues.swapped(files, 0.1, seed=1))
    assert not labels.equals(label_issues.swapped(files, 0.1, seed=2))


@pytest.mark.slow
def test_what_labels_finds_is_measured_in_small(
    stripes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Folds, their suspects, and what is trained on mended tables; what is done stays."""

    def tiny(data: DataConfig, fold: int | None, **_: object) -> TrainConfig:
        return small(stripes, data=data, fold=fold, folds=2, epochs=0)

    roots = {label_issues.MENDED: stripes / "train_images"}
    for name, value in {"FOLDS": 2, "SHARES": (0.1,), "SEEDS": (0,), "TrainConfig": tiny}.items():
        monkeypatch.setattr(label_issues, name, value)
    label_issues.train_all(tmp_path, roots)
    runs = {path: path.stat().st_mtime for path in tmp_path.glob("*/*/summary.json")}
    assert len(runs) == 2 + 2 + 2 + 4
    label_issues.train_all(tmp_path, roots)
    assert all(path.stat().st_mtime == time for path, time in runs.items())
    label_issues.tell(tmp_path, roots)
    told = capsys.readouterr().out
    assert "precision, first 10%" in told and "none swapped" in told and "p " in told


def test_the_kept_epoch_is_judged_by_pictures_that_did_not_choose() -> None:
    # Of 40 pictures every epoch gets half right, by chance: the lowest error chosen is no better
    # elsewhere; but losses fall, so that the lowest is the last.
    rng = np.random.default_rng(0)
    wrong = rng.random((9, 40)) < 0.5
    losses = np.linspace(2, 1, 9)[:, None].repeat(40, axis=1)
    found = kept_epoch.judged(losses, wrong, rng).groupby("keep").mean()
    assert found.loc["error", "error"] > wrong.mean(1).min()
    assert (found.loc["loss"] == found.loc["last"]).all() and found.loc["last", "loss"] == 1
    assert found.loc["last", "error"] == pytest.approx(wrong[-1].mean(), abs=0.02)
