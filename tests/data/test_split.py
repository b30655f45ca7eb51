import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from paddy_lightning.choices import Split
from paddy_lightning.data.alike import group_alike
from paddy_lightning.data.equal_files import equal_files
from paddy_lightning.data.split import fold_split, random_split, split_table
from paddy_lightning.errors import UserError


def table(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"file": [f"{row:05}.jpg" for row in range(rows)]})


@pytest.mark.parametrize("rows", [600, 1000, 10407])
def test_the_same_pictures_validate_as_in_fastai(golden: Path, rows: int) -> None:
    recorded = json.loads((golden / "random_splitter_seed42.json").read_text())
    expected = recorded["splits"][str(rows)]
    valid = np.flatnonzero(random_split(table(rows), seed=42)["is_valid"])
    assert len(valid) == expected["valid_len"]
    digest = hashlib.sha256(valid.astype("<i8").tobytes()).hexdigest()
    assert digest == expected["valid_sorted_sha256_int64_le"]


@given(st.integers(2, 300), st.integers(0, 2**31))
def test_a_fifth_validates_and_the_table_stays_as_it_is(rows: int, seed: int) -> None:
    before = table(rows)
    after = random_split(before, seed=seed)
    assert after["is_valid"].sum() == max(1, int(0.2 * rows))
    assert "is_valid" not in before
    assert after["file"].equals(before["file"])
    assert after.equals(random_split(before, seed=seed))


def test_the_split_is_apart_from_the_global_random_numbers() -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    random_split(table(10))
    assert torch.equal(torch.rand(1), expected)


@given(st.lists(st.integers(0, 3), min_size=10, max_size=80), st.integers(2, 5), st.booleans())
def test_over_all_folds_every_picture_validates_once(
    labels: list[int], folds: int, grouped: bool
) -> None:
    pictures = table(len(labels)).assign(label=[f"c{label}" for label in labels])
    groups = pd.Series(range(len(labels))) // 2 if grouped else None
    sides = [
        fold_split(pictures, fold, folds, groups=groups)["is_valid"].to_numpy()
        for fold in range(folds)
    ]
    assert (np.sum(sides, axis=0) == 1).all()
    if groups is not None:
        assert all(len(set(side[groups == g])) == 1 for side in sides for g in set(groups))


@given(st.integers(20, 60), st.integers(20, 200))
def test_a_stratified_split_gives_every_class_its_share(rare: int, common: int) -> None:
    pictures = table(rare + common).assign(label=["rare"] * rare + ["common"] * common)
    after = split_table(pictures, Path(), Split.stratified)
    for label, count in (("rare", rare), ("common", common)):
        assert abs(after.loc[after["label"] == label, "is_valid"].sum() - count / 5) < 1.01


def test_equal_files_stay_on_one_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    contents = rng.integers(0, 30, 100)  # some three files each
    pictures = table(100).assign(label=rng.choice(["a", "b"], 100))
    for file, content in zip(pictures["file"], contents, strict=True):
        (tmp_path / file).write_bytes(b"%03d" % content)
    digests = equal_files(tmp_path, pictures["file"])
    assert digests.nunique() == len(set(contents))
    for split in (Split.auto, Split.stratified):
        after = split_table(pictures, tmp_path, split, group="duplicates")
        assert 5 < after["is_valid"].sum() < 40
        assert after.groupby(contents)["is_valid"].nunique().max() == 1


def test_pictures_that_look_alike_stay_on_one_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Copies made smaller, brighter and worse, with other labels; twice the same."""
    rng = np.random.default_rng(0)
    pictures, drawn = table(60).assign(label=["a", "b"] * 30), np.arange(60) // 3
    for number in range(20):
        small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        whole = small.resize((160, 120), Image.Resampling.BICUBIC)
        files = [tmp_path / file for file in pictures["file"][drawn == number]]
        whole.save(files[0], quality=95)
        whole.resize((90, 70)).save(files[1], quality=60)
        ImageEnhance.Brightness(whole).enhance(1.1).save(files[2], quality=50)
    with caplog.at_level("INFO"):
        folds = [
            split_table(pictures, tmp_path, fold=fold, group="duplicates") for fold in range(5)
        ]
    assert (np.sum([fold["is_valid"] for fold in folds], axis=0) == 1).all()
    assert all(fold.groupby(drawn)["is_valid"].nunique().max() == 1 for fold in folds)
    assert (folds[0]["alike"] == drawn + 1).all()
    told = "group=duplicates: 60 pictures are 20 groups: 60 look like others, at most 3 alike"
    assert told in caplog.messages
    again = split_table(pictures, tmp_path, fold=0, group="duplicates")
    assert again.equals(folds[0])


def test_where_nothing_looks_alike_equal_files_alone_are_groups(tmp_path: Path) -> None:
    """So that splits from before stay: those of ``equal_files``, value for value."""
    rng = np.random.default_rng(0)
    pictures = table(24).assign(label=["a", "b"] * 12)
    for number, file in enumerate(pictures["file"]):
        same = np.random.default_rng(number // 2) if number < 8 else rng
        Image.fromarray(same.integers(0, 256, (40, 30, 3), np.uint8)).save(tmp_path / file)
    assert group_alike(tmp_path, pictures["file"]).equals(equal_files(tmp_path, pictures["file"]))


def test_a_column_of_groups_stays_together() -> None:
    pictures = table(50).assign(label=["a", "b"] * 25, plant=[f"p{row % 10}" for row in range(50)])
    after = split_table(pictures, Path(), group="plant", fold=2, folds=5)
    assert after.groupby("plant")["is_valid"].nunique().max() == 1
    assert after["is_valid"].sum() == 10
    with pytest.raises(UserError, match="group=plnat: no such column; there is duplicates, plant"):
        split_table(pictures, Path(), group="plnat")


def test_the_datas_own_split_is_kept_unless_asked_otherwise() -> None:
    pictures = table(10).assign(label=["a", "b"] * 5, is_valid=[True] * 4 + [False] * 6)
    assert split_table(pictures, Path())["is_valid"].equals(pictures["is_valid"])
    anew = split_table(pictures, Path(), Split.random)
    assert anew["is_valid"].sum() == 2
    with pytest.raises(UserError, match="the data has a split of its own"):
        split_table(pictures, Path(), fold=0)


def test_a_class_that_one_side_lacks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pictures = table(41).assign(label=["a"] * 40 + ["lonely"])
    for split in (Split.random, Split.stratified):
        for seed in range(8):
            split_table(pictures, Path(), split, seed)
    told = set(caplog.messages)
    assert told == {
        "1 of 2 classes have no picture to train on: lonely",
        "1 of 2 classes have no picture to validate on: lonely",
    }


def test_more_folds_than_pictures_are_refused() -> None:
    pictures = table(4).assign(label=["a", "b"] * 2)
    for split in (Split.random, Split.stratified):
        with pytest.raises(UserError, match="folds=9: not possible here"):
            split_table(pictures, Path(), split, fold=0, folds=9)


@pytest.mark.parametrize(
    ("is_valid", "message"),
    [
        (False, "all 10 pictures train, none validates: the data's own split is so; set split=ran"),
        (True, "all 10 pictures validate, none trains: the data's own split is so; set split=rand"),
    ],
)
def test_a_split_with_an_empty_side_is_refused(is_valid: bool, message: str) -> None:
    pictures = table(10).assign(label=["a", "b"] * 5, is_valid=is_valid)
    with pytest.raises(UserError, match=message):
        split_table(pictures, Path())
    assert split_table(pictures, Path(), Split.random)["is_valid"].sum() == 2


def test_a_fold_that_gets_no_group_is_refused() -> None:
    pictures = table(6).assign(label=["a"] * 3 + ["b"] * 3, plant=["x"] * 3 + ["y"] * 2 + ["z"])
    for fold in range(3):
        try:
            found = split_table(
                pictures, Path(), Split.stratified, fold=fold, folds=3, group="plant"
            )
            assert found["is_valid"].nunique() == 2
        except UserError as error:
            assert "none validates: take another fold=, or fewer folds=" in str(error)


def test_who_has_no_group_is_a_group_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    plants = [""] * 25 + [" "] * 5 + [f"p{row % 14}" for row in range(70)]
    pictures = table(100).assign(label=["a", "b"] * 50, plant=plants)
    sides = [
        split_table(pictures, Path(), group="plant", fold=fold)["is_valid"] for fold in range(5)
    ]
    assert np.sum(sides, axis=0).tolist() == [1] * 100
    named = pictures["plant"].str.startswith("p")
    assert all(0 < side[~named].sum() < 15 for side in sides)
    assert all(side[named].groupby(pictures["plant"]).nunique().max() == 1 for side in sides)
    assert "30 pictures have no plant: each is a group of its own" in caplog.messages


def test_files_that_cannot_be_read_equal_no_others(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / name).write_bytes(b"same")
    (tmp_path / "folder").mkdir()
    files = pd.Series(["1", "2", "3", "gone", "folder", "x" * 5000, "zero\0byte"])
    opened = Path.open

    def refuse(self: Path, mode: str) -> object:
        if self.name == "3":
            raise PermissionError(13, "Permission denied")
        return opened(self, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        found = equal_files(tmp_path, files)
    assert found[0] == found[1] and found[2:].tolist() == files[2:].tolist()
