"""What ``paddy predict`` says of how sure it is: calibrated, and by sets of classes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import small

from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.csv_tables import read_table
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict, run_predict
from paddy_lightning.runs.calibration import bound, calibration_of, tempered
from paddy_lightning.runs.run_folder import read_predictions
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training.train import train

CLASSES = ["across", "down", "slanted"]


@pytest.fixture(scope="module")
def runs(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds on the same split; the second was validated with test-time augmentation, too."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        train(small(stripes, seed=seed, split_seed=7, tta=seed == 2), folder / str(seed))
    return [folder / "1", folder / "2"]


def validated(run: Path, stripes: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What training said of its validation pictures, and what predicting says."""
    before = read_predictions(run / "valid_predictions.csv").sort_values("file")
    after = predict(run, stripes / "train_images").set_index("file").loc[before["file"]]
    return before.reset_index(drop=True), after.reset_index()


def test_confidence_is_calibrated_and_labels_stay(runs: list[Path], stripes: Path) -> None:
    before, after = validated(runs[0], stripes)
    found = calibration_of(load_checkpoint(runs[0]))
    assert found and found.temperature != 1 and len(found.true_shares) == 12
    assert list(after["label"]) == list(before["predicted"])
    want = tempered(before[CLASSES].to_numpy(), found.temperature)
    assert np.abs(after[CLASSES].to_numpy() - want).max() < 1e-5
    assert (after["confidence"] == after[CLASSES].max(axis=1)).all()


def test_candidates_hold_the_truth_of_as_many_as_they_were_fitted_to(
    runs: list[Path], stripes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = read_predictions(runs[0] / "valid_predictions.csv")
    table = predict(runs[0], stripes / "train_images", coverage=0.8).set_index("file")
    assert list(table)[:4] == ["label", "confidence", "candidates", "sure"]
    rows = table.loc[before["file"]]
    sets = rows["candidates"].str.split(" | ", regex=False)
    held = [label in told for label, told in zip(before["label"], sets, strict=True)]
    assert sum(held) == 11  # the 2nd least sure of 12 is the bound
    assert (sets.str[0] == rows["label"]).all()
    assert list(rows["sure"]) == [len(told) == 1 for told in sets]
    assert "candidates on average" in caplog.text


def test_the_table_has_them_and_a_file_that_cannot_be_read_has_none(
    runs: list[Path], stripes: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stripes / "test_images", tmp_path / "some")
    (folder / "z.jpg").write_bytes(b"no picture")
    run_predict(PredictConfig(str(runs[0]), images=str(folder), coverage=0.9, output=str(tmp_path)))
    table = read_table(tmp_path / "predictions.csv")
    assert list(table) == ["file", "label", "confidence", "candidates", "sure", *CLASSES]
    assert table.iloc[-1].tolist() == ["z.jpg", *[""] * 7]
    assert set(table["sure"][:-1]) <= {"True", "False"} and (table["candidates"][:-1] != "").all()


def test_what_was_never_validated_so_promises_nothing(
    runs: list[Path], exported: Path, stripes: Path
) -> None:
    pictures = stripes / "test_images"
    for run, more, said in (
        (runs[0], {"coverage": 0.95}, "needs 19 validation pictures or more, and there were 12"),
        (runs[0], {"coverage": 1.0}, "is a share between 0 and 1"),
        (runs[0], {"coverage": 0.8, "tta": "mean"}, "was not validated just so"),
        (runs[0], {"coverage": 0.8, "size": (48, 40)}, "was not validated just so"),
        (runs[1], {"coverage": 0.8, "tta": "max"}, "was not validated just so"),
        (exported / "export" / "model.onnx", {"coverage": 0.8}, "was not validated just so"),
    ):
        with pytest.raises(UserError, match=said):
            predict(run, pictures, **more)  # type: ignore[arg-type]
    assert predict(runs[1], pictures, tta="mean", coverage=0.8)["sure"].notna().all()


def test_views_have_a_temperature_of_their_own_where_they_were_validated(runs: list[Path]) -> None:
    ways = [set(load_checkpoint(run)["calibration"]) for run in runs]
    assert ways == [{"off"}, {"off", "mean"}]
    first, second = load_checkpoint(runs[1])["calibration"].values()
    assert first["temperature"] != second["temperature"]


def test_several_are_calibrated_together(runs: list[Path], stripes: Path) -> None:
    """By the pictures that validated all of them."""
    pictures = stripes / "test_images"
    alone = [predict(run, pictures)[CLASSES].to_numpy() for run in runs]
    whole = predict(runs, pictures, coverage=0.9)
    mean = (alone[0] + alone[1]) / 2
    assert (np.array(CLASSES)[mean.argmax(1)] == whole["label"]).all()
    spread = [np.ptp(np.log(shares), axis=1) for shares in (mean, whole[CLASSES].to_numpy())]
    temperature = spread[0] / spread[1]  # one for all pictures
    assert np.ptp(temperature) < 1e-3 and abs(temperature.mean() - 1) > 1e-2


def test_a_checkpoint_of_an_earlier_version_is_taken_at_its_word(
    runs: list[Path], stripes: Path, tmp_path: Path
) -> None:
    import torch

    run = shutil.copytree(runs[0], tmp_path / "run")
    checkpoint = load_checkpoint(run)
    del checkpoint["calibration"]
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    before, after = validated(run, stripes)
    assert np.abs(after[CLASSES].to_numpy() - before[CLASSES].to_numpy()).max() < 1e-5
    with pytest.raises(UserError, match="was not validated just so"):
        predict(run, stripes / "test_images", coverage=0.8)


def test_the_bound_is_a_picture_s_own(runs: list[Path]) -> None:
    found = calibration_of(load_checkpoint(runs[0]))
    assert found and bound(found, 0.8) == found.true_shares[1]
