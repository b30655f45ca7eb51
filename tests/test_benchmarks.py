"""What needs no fastai: who is timed when, what is written where, and which photos were taken."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from benchmarks import bean, results
from benchmarks.paired import Other, in_turn


def test_each_side_begins_in_turn_and_the_first_round_does_not_count() -> None:
    called: list[str] = []

    def way(name: str) -> Other:
        return Other(name, lambda: called.append(name))

    pairs = in_turn(lambda: called.append("ours"), [way("one"), way("other")], 3, 10)
    rounds = ["".join(name[:3] for name in called[i : i + 3]) for i in range(0, 12, 3)]
    assert rounds == ["ouroneoth", "oneothour", "othourone", "ouroneoth"]
    assert [pair.other.what for pair in pairs] == ["one", "other"]
    assert all(len(pair.ours) == len(pair.theirs) == 3 for pair in pairs)


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
    assert "A machine. 3 minutes in all." in whole and "straw man" in whole and "a note" in whole
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
