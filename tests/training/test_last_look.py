"""``test=``: pictures that nobody chose by, looked at once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import copied_unseen, small

from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.run_folder import read_config
from paddy_lightning.training.train import train

CLASSES = ["across", "down", "slanted"]


@pytest.fixture
def unseen(stripes: Path, tmp_path: Path) -> Path:
    return copied_unseen(stripes, tmp_path / "unseen")


def test_its_error_is_told_apart(
    stripes: Path, unseen: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = tmp_path / "run"
    (unseen / "down" / "broken.jpg").write_bytes(b"no picture")
    summary = train(small(stripes, test=str(unseen)), run)
    told = pd.read_csv(run / "test_predictions.csv")
    assert list(told) == ["file", "label", "predicted", "confidence", "loss", *CLASSES]
    read = told["predicted"].notna()
    assert len(told) == 61 and read.sum() == summary["num_test"] == 60
    assert summary["test_error_rate"] == (told["label"] != told["predicted"])[read].mean()
    assert summary["test_error_low"] < summary["test_error_rate"] < summary["test_error_high"]
    assert "1 of 61 files cannot be read" in caplog.text
    assert f"on 60 test pictures {summary['test_error_rate']:.4f}" in caplog.text
    assert "that were looked at once, at the end" in (run / "interpretation.md").read_text()
    assert json.loads((run / "summary.json").read_text())["num_test"] == 60
    again = predict(run, unseen)
    assert np.allclose(again[CLASSES], told[CLASSES], atol=1e-5, equal_nan=True)
    assert read_config(run).test == str(unseen)


def test_a_run_with_it_is_the_run_without(stripes: Path, unseen: Path, tmp_path: Path) -> None:
    train(small(stripes), tmp_path / "without")
    train(small(stripes, test=str(unseen)), tmp_path / "with")
    for name in ("metrics.csv", "valid_predictions.csv"):
        first, second = (pd.read_csv(tmp_path / run / name) for run in ("without", "with"))
        timed = ["seconds", "images_per_second"]
        pd.testing.assert_frame_equal(
            first.drop(columns=timed, errors="ignore"), second.drop(columns=timed, errors="ignore")
        )


def test_what_would_flatter_or_is_not_there_is_refused(
    stripes: Path, unseen: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "round").mkdir(parents=True)
    (tmp_path / "empty" / "down").mkdir(parents=True)
    shutil.copy(next(unseen.rglob("*.jpg")), other / "round" / "1.jpg")
    first = next((stripes / "train_images" / "down").glob("*.jpg"))
    shutil.copy(first, unseen / "down" / "one_more.jpg")
    for folder, said in (
        (tmp_path / "nowhere", "nowhere: not there; it wants a folder with one folder a class"),
        (tmp_path / "empty", "no pictures in it; it wants one folder a class"),
        (other, "round is no class here; there is across, down, slanted"),
        (unseen, "1 of its 61 files are among those to train and validate on, such as down/one_m"),
    ):
        with pytest.raises(UserError, match=said):
            train(small(stripes, test=str(folder)), tmp_path / "run")
