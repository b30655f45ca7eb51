"""``paddy predict`` with an exported network: as with the run it came from."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict, run_predict

MODEL = "export/model.onnx"


def test_an_exported_network_predicts_as_its_checkpoint(
    exported: Path, tmp_path: Path, stripes: Path
) -> None:
    """In its run's folder it knows the test pictures, too, and whose ids a submission has."""
    run = shutil.copytree(exported, tmp_path / "run")
    tables, submissions = [], []
    for ckpt in (run, run / MODEL):
        run_predict(PredictConfig(str(ckpt)))
        tables.append(pd.read_csv(run / "predictions.csv"))
        submissions.append((run / "submission.csv").read_bytes())
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=0, atol=1e-5)
    assert submissions[0] == submissions[1]
    assert (run / "predictions.1.csv").is_file()  # the checkpoint's, kept
    both = predict([run, run / MODEL], stripes / "test_images")
    pd.testing.assert_frame_equal(both, tables[0], rtol=0, atol=1e-5, check_dtype=False)


def test_what_it_was_trained_on_is_told(
    exported: Path, stripes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predict(exported / MODEL, stripes / "train_images")
    assert "48 of the 60 pictures are, by their paths, among those it trained on" in caplog.text


def test_away_from_its_run_it_takes_named_pictures(
    exported: Path, stripes: Path, tmp_path: Path
) -> None:
    away = shutil.copy(exported / MODEL, tmp_path)
    with pytest.raises(UserError, match="say which pictures, with images="):
        predict(away)
    pd.testing.assert_frame_equal(predict(away, stripes / "test_images"), predict(exported / MODEL))
    run_predict(PredictConfig(str(away), images=str(stripes / "test_images")))
    assert (tmp_path / "predictions.csv").is_file()


def test_views_and_sizes_it_has_not_are_refused(exported: Path) -> None:
    with pytest.raises(UserError, match="joins what views it has by itself"):
        predict(exported / MODEL, tta="mean")
    with pytest.raises(UserError, match=r"shows its network pictures of \[40, 32\] alone"):
        predict(exported / MODEL, size=(48, 48))
    assert len(predict(exported / MODEL, size=(40, 32))) == 8
