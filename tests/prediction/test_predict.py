import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forks import true_starts
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small import small

from paddy_lightning.choices import DataConfig, Source, Tta
from paddy_lightning.config import plain
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.images import find_images
from paddy_lightning.prediction.predict import predict
from paddy_lightning.prediction.submission import submission
from paddy_lightning.prediction.table import predictions_table
from paddy_lightning.prediction.tta import join_views
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training.train import train


def test_tta_is_fastais(golden: Path) -> None:
    recorded = json.loads((golden / "tta.json").read_text())
    views = np.array([*recorded["aug"], recorded["plain"]], np.float32).swapaxes(0, 1)
    results = {name: np.array(value, np.float32) for name, value in recorded["results"].items()}
    assert np.abs(join_views(views, Tta.mean) - results["beta_0.25"]).max() < 1e-6
    assert np.abs(join_views(views, Tta.mean, beta=0.5) - results["beta_0.5"]).max() < 1e-6
    assert np.array_equal(join_views(views, Tta.max), results["use_max"])
    assert np.array_equal(join_views(views, Tta.off), np.array(recorded["plain"], np.float32))


@given(st.integers(1, 5), st.integers(2, 6), st.integers(2, 9), st.floats(0, 1))
def test_joined_means_are_probabilities(n: int, views: int, classes: int, beta: float) -> None:
    probabilities = torch.rand(n, views, classes).softmax(2).numpy()
    joined = join_views(probabilities, Tta.mean, beta)
    assert joined.shape == (n, classes) and joined.dtype == np.float32
    assert np.abs(joined.sum(1) - 1).max() < 1e-5


@pytest.fixture
def predictions() -> pd.DataFrame:
    files = pd.Series(["1.jpg", "2.jpg", "3.jpg"])
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]], np.float32)
    return predictions_table(files, probabilities, ["blast", "normal"])


def test_a_table_of_predictions(predictions: pd.DataFrame) -> None:
    assert list(predictions) == ["file", "label", "confidence", "blast", "normal"]
    assert predictions["label"].tolist() == ["normal", "blast", "blast"]
    assert predictions["confidence"].tolist() == pytest.approx([0.8, 0.9, 0.5])


def test_a_submission_has_the_samples_ids_in_its_order(
    predictions: pd.DataFrame, tmp_path: Path
) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("image_id,label\n3.jpg,\n1.jpg,\n2.jpg,\n")
    found = submission(predictions, sample)
    assert found.to_dict("list") == {
        "image_id": ["3.jpg", "1.jpg", "2.jpg"],
        "label": ["blast", "normal", "blast"],
    }


@pytest.mark.parametrize("ids", ["1.jpg,\n2.jpg,\n", "1.jpg,\n2.jpg,\n3.jpg,\n4.jpg,\n"])
def test_a_submission_with_gaps_is_refused(
    predictions: pd.DataFrame, tmp_path: Path, ids: str
) -> None:
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("image_id,label\n" + ids)
    with pytest.raises(UserError, match="its ids are not the predicted pictures"):
        submission(predictions, sample)


@pytest.mark.parametrize(
    ("files", "label", "sample", "why"),
    [
        (["1.jpg"], "blast", "image_id\n1.jpg\n", "has only the column image_id"),
        (["1.jpg"], "", "image_id,label\n1.jpg,\n", "none of its pictures can be read"),
        (["a/1.jpg", "b/1.jpg"], "blast", "image_id,label\n1.jpg,\n", r"1\.jpg is in two folders"),
    ],
)
def test_what_is_no_submission_is_refused(
    tmp_path: Path, files: list[str], label: str, sample: str, why: str
) -> None:
    (tmp_path / "sample_submission.csv").write_text(sample)
    with pytest.raises(UserError, match=why):
        submission(
            pd.DataFrame({"file": files, "label": label}), tmp_path / "sample_submission.csv"
        )


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "was here"
    torch.save({"hyper_parameters": Payload(trace), "state_dict": {}}, tmp_path / "evil.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Payload(trace)))
    for name in ("evil.ckpt", "plain.ckpt"):
        with pytest.raises(UserError, match="not a checkpoint made by paddy train"):
            load_checkpoint(tmp_path / name)
    assert not trace.exists()


def test_the_flat_test_set_beside_trees_is_predicted(stripes: Path, tmp_path: Path) -> None:
    (tmp_path / "Training").symlink_to(stripes / "train_images")
    (tmp_path / "Testing").symlink_to(stripes / "test_images")
    data = open_data(DataConfig(Source.folder, str(tmp_path)))
    root, files, _ = find_images(None, {"data": plain(data.config)})
    assert root == tmp_path / "Testing" and len(files) == 8 and "is_valid" not in data.train


def test_what_is_not_predicted_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    facts = {"data": plain(DataConfig(Source.folder))}
    with pytest.raises(UserError, match="nowhere: not there"):
        find_images(tmp_path / "nowhere", facts)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"no pictures in it, but 1 \.txt"):
        find_images(tmp_path, facts)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.gif")
    assert find_images(tmp_path, facts)[1].tolist() == ["x.gif"]
    assert caplog.messages == [f"{tmp_path}: left out 1 .txt"]


def test_folders_of_any_kind(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nested, with equal names, with a broken file, with none that can be read, empty."""
    config = small(stripes, epochs=1, freeze_epochs=0, cache="off")
    train(config, tmp_path / "run")
    picture = (stripes / "test_images" / "200000.jpg").read_bytes()
    odd = tmp_path / "odd"
    files = ["1.jpg", "a/1.jpg", "a/b/c/1.JPG", "a/b/2.jpg", "z.jpg", "z/水 \udcff.jpg"]
    for file in files:
        (odd / file).parent.mkdir(parents=True, exist_ok=True)
        (odd / file).write_bytes(b"no picture" if file == "z.jpg" else picture)
    found = predict(tmp_path / "run", odd)
    assert found["file"].tolist() == sorted(files)
    assert found["label"].eq("").tolist() == [file == "z.jpg" for file in sorted(files)]
    assert "z.jpg: cannot be read" in caplog.text and "row without a label" in caplog.text
    one = predict(tmp_path / "run", odd / "z.jpg")
    assert one["label"].tolist() == [""] and one["confidence"].isna().all()
    (tmp_path / "empty").mkdir()
    for path, why in ((tmp_path / "empty", "no pictures in it"), (tmp_path / "x", "not there")):
        with pytest.raises(UserError, match=why):
            predict(tmp_path / "run", path)


SPARED = {
    *("pytorch_lightning", "lightning_fabric", "torchmetrics", "kornia", "tensorboard"),
    *("scipy", "sklearn", "matplotlib", "captum", "imagehash", "torch._dynamo"),
}


def imported_to_predict(network: Path, picture: Path, output: Path) -> set[str]:
    words = ["predict", f"ckpt={network}", f"images={picture}", f"output={output}"]
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['paddy', *{words!r}]\n"
        "runpy.run_module('paddy_lightning', run_name='__main__')\n"
        "print(*sys.modules)"
    )
    with true_starts():
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (output / "predictions.csv").is_file(), told.stderr
    return {*told.stdout.splitlines()[-1].split()}


def test_predicting_imports_what_it_needs(
    finished: Path, exported: Path, stripes: Path, tmp_path: Path
) -> None:
    """Lightning and its like take seconds, torch and timm too, of which an export needs none."""
    picture = stripes / "test_images" / "200000.jpg"
    by_run = imported_to_predict(finished, picture, tmp_path / "run")
    assert by_run >= {"torch", "timm"} and not by_run & {*SPARED, "onnxruntime"}
    onnx = exported / "export" / "model.onnx"
    by_export = imported_to_predict(onnx, picture, tmp_path / "export")
    assert "onnxruntime" in by_export and not by_export & {*SPARED, "torch", "timm", "torchvision"}


def test_another_size_than_in_training(stripes: Path, tmp_path: Path) -> None:
    """The pictures are those of that size: as a network trained at it would be shown them."""
    train(small(stripes, epochs=1), tmp_path / "run")
    usual = predict(tmp_path / "run")
    pd.testing.assert_frame_equal(predict(tmp_path / "run", size=(40, 32)), usual)
    larger = predict(tmp_path / "run", size=(48, 40), tta="mean")
    assert larger.filter(["across", "down", "slanted"]).sum(axis=1).to_numpy() == pytest.approx(1)
    file = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["hyper_parameters"]["size"] = [48, 40]
    torch.save(checkpoint, file)
    pd.testing.assert_frame_equal(predict(tmp_path / "run", tta="mean"), larger)
    assert not usual["confidence"].equals(predict(tmp_path / "run")["confidence"])


def test_a_network_of_one_size_is_not_shown_another(stripes: Path, tmp_path: Path) -> None:
    config = small(stripes, arch="vit_tiny_patch16_224", size=(32, 32), epochs=0)
    train(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"size=48x32: vit_tiny.* takes the size .* alone, 32x32"):
        predict(tmp_path / "run", size=(48, 32))
