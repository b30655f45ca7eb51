"""Weights of several runs averaged: only of those that began alike, and as long as it helps."""

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from small import small

from paddy_lightning.choices import Keep
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.summary import read_summary
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training.soup import soup
from paddy_lightning.training.train import train


@pytest.fixture(scope="module")
def members(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs that began with the weights of a first."""
    folder = tmp_path_factory.mktemp("members")
    first = small(stripes, epochs=10, lr_mult=1.0)
    train(first, folder / "first")
    config = dataclasses.replace(
        first, start=str(folder / "first"), epochs=2, freeze_epochs=0, keep=Keep.last
    )
    runs = [folder / f"seed-{seed}" for seed in (1, 2, 3)]
    for seed, run in enumerate(runs, 1):
        train(dataclasses.replace(config, seed=seed), run)
    return runs


def test_what_is_kept_is_as_good_as_the_best_and_predicts(
    members: list[Path], tmp_path: Path, stripes: Path
) -> None:
    found = soup(members, tmp_path / "soup")
    alone = {str(run): read_summary(run)["error_rate"] for run in members}
    assert found["member_error_rate"] == min(alone.values()) == alone[found["members"][0]]
    assert found["error_rate"] <= found["member_error_rate"]
    assert read_summary(tmp_path / "soup")["status"] == "done"
    written = pd.read_csv(tmp_path / "soup" / "valid_predictions.csv")
    assert (written["label"] != written["predicted"]).mean() == pytest.approx(found["error_rate"])
    predictions = predict(tmp_path / "soup", images=stripes / "test_images")
    assert len(predictions) == len(list((stripes / "test_images").iterdir()))


def test_its_weights_are_the_mean(members: list[Path], tmp_path: Path) -> None:
    found = soup(members, tmp_path / "soup")
    assert len(found["members"]) > 1
    theirs = [load_checkpoint(run)["state_dict"] for run in found["members"]]
    ours = load_checkpoint(tmp_path / "soup")["state_dict"]
    for name, mean in ours.items():
        if "running" not in name and "num_batches" not in name:
            expected = torch.stack([one[name] for one in theirs]).double().mean(0).float()
            torch.testing.assert_close(mean, expected)
    statistics = [name for name in ours if "running" in name]
    assert not all(torch.equal(theirs[0][name], ours[name]) for name in statistics)  # made anew


def test_of_one_it_is_that_one(members: list[Path], tmp_path: Path) -> None:
    soup(members[:1], tmp_path / "soup")
    theirs, ours = (load_checkpoint(run)["state_dict"] for run in (members[0], tmp_path / "soup"))
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    table = pd.read_csv(tmp_path / "soup" / "valid_predictions.csv")
    pd.testing.assert_frame_equal(table, pd.read_csv(members[0] / "valid_predictions.csv"))


def test_twice_it_is_the_same(members: list[Path], tmp_path: Path) -> None:
    first, second = (soup(members, tmp_path / name) for name in ("one", "two"))
    assert first["error_rate"] == second["error_rate"]
    assert first["valid_loss"] == second["valid_loss"]


def test_strangers_are_refused(members: list[Path], tmp_path: Path) -> None:
    first = members[0].parent / "first"
    with pytest.raises(UserError, match="began with a random head"):
        soup([first, members[0]], tmp_path / "soup")
    with pytest.raises(UserError, match="began with start=None"):
        soup([members[0], first], tmp_path / "soup")
    other = tmp_path / "other"
    shutil.copytree(members[0], other)
    table = pd.read_csv(other / "pictures.csv")
    table["is_valid"] = table["is_valid"].to_numpy()[::-1]
    table.to_csv(other / "pictures.csv", index=False)
    with pytest.raises(UserError, match="other pictures, or another split"):
        soup([members[0], other], tmp_path / "soup")
    assert not (tmp_path / "soup").exists()
