"""An export in 8-bit integers: kept where no test tells it from float32, and else not."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from PIL import Image

from paddy_lightning.data.pictures import Pictures
from paddy_lightning.export import int8
from paddy_lightning.export.export import Validation, export_run, try_int8
from paddy_lightning.export.int8 import Verdict, calibration_pictures, compare, write_int8
from paddy_lightning.export.onnx_file import write_onnx
from paddy_lightning.export.parity import Answers
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import build_model, resolve_arch
from paddy_lightning.runs.pictures import pictures_of
from paddy_lightning.runs.run_folder import read_predictions
from paddy_lightning.runs.trained import load_checkpoint, presize_of
from paddy_lightning.runtime.model import Model


def answers(*right: bool) -> Answers:
    """Of pictures of the first of two classes."""
    return Answers(np.array([[0.9, 0.1] if is_right else [0.1, 0.9] for is_right in right]), 1.0)


def test_what_is_worse_or_says_something_else_is_not_kept() -> None:
    labels = np.zeros(100, int)
    good = answers(*[True] * 100)
    assert compare(good, good, labels) == Verdict(0, 0, 1.0, 1.0)
    assert compare(good, good, labels).kept
    five, six = (compare(good, answers(*[n >= bad for n in range(100)]), labels) for bad in (5, 6))
    assert five.p == 0.0625 and five.same == 0.95 and five.kept
    assert six.p == 2 / 2**6 and not six.kept
    bad = answers(*[False] * 100)
    assert compare(bad, bad, labels).kept  # as bad as the other, and smaller


def test_on_few_pictures_no_test_decides_alone() -> None:
    found = compare(answers(*[True] * 12), answers(*[False], *[True] * 11), np.zeros(12, int))
    assert found.p == 1 and not found.kept


def test_it_is_calibrated_on_training_pictures(exported: Path) -> None:
    facts = load_checkpoint(exported)["hyper_parameters"]
    pictures = calibration_pictures(exported, facts)
    table = pd.read_csv(exported / "pictures.csv")
    assert len(pictures) == 48
    assert {name.decode() for name in pictures.files} == {*table.loc[~table["is_valid"], "file"]}


@pytest.mark.parametrize("arch", ["mobilenetv3_small_050", "test_convnext", "test_vit"])
def test_only_the_body_is_in_integers(arch: str, tmp_path: Path) -> None:
    """What resizes, the head, and what tells where it looked stay as they are."""
    network = build_model(arch, 3, "none", (48, 32)).eval()
    facts = {
        **{"arch": resolve_arch(arch)[0], "class_names": ["a", "b", "c"], "size": [48, 32]},
        **{"presize": [48, 40], "resize": "squish", "pad_mode": "zeros", "draft": True},
        **{"mean": network.mean, "std": network.std},
    }
    weights = Classifier(network, 3).state_dict()
    write_onnx({"hyper_parameters": facts, "state_dict": weights}, tmp_path / "exact.onnx")
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "grey.png")
    grey = Pictures(tmp_path, pd.Series(["grey.png"]), np.array([-1]), presize_of(facts))
    write_int8(tmp_path / "exact.onnx", grey, tmp_path / "rounded.onnx")
    assert Model(tmp_path / "rounded.onnx")(np.zeros((2, 48, 40, 3), np.uint8)).shape == (2, 3)
    tensors = onnx.load(tmp_path / "rounded.onnx").graph.initializer
    kinds = {tensor.name: tensor.data_type for tensor in tensors if len(tensor.dims) > 1}
    exact = ["rows", "columns", *(name for name in kinds if "network.head" in name)]
    assert len(exact) > 2 and {kinds[name] for name in exact} == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.INT8 in kinds.values()


def test_a_smaller_one_that_is_as_good_is_kept(exported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(exported, tmp_path / "run")
    shutil.rmtree(run / "export")
    export_run(run, int8=True)
    exact, rounded = (run / "export" / name for name in ("model.onnx", "model.int8.onnx"))
    assert rounded.stat().st_size < 0.8 * exact.stat().st_size
    said = json.loads((run / "export" / "parity.json").read_text())
    assert said["int8"]["kept"] and said["int8"]["p"] == 1
    assert said["forms"]["model.onnx"]["labels_differ"] == 0
    assert Model(rounded).facts == Model(exact).facts
    pictures = np.random.default_rng(0).integers(0, 256, (3, 48, 40, 3), np.uint8)
    probabilities, activation = Model(rounded).look(pictures)
    assert probabilities.shape == (3, 3) and activation.max() == 1


def test_one_that_is_worse_is_not_kept(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Calibrated on a black picture, it knows no range for any other."""
    caplog.set_level("INFO")
    run = shutil.copytree(exported, tmp_path / "run")
    facts = load_checkpoint(run)["hyper_parameters"]
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    black = Pictures(tmp_path, pd.Series(["black.png"]), np.array([-1]), presize_of(facts))
    monkeypatch.setattr(int8, "calibration_pictures", lambda run, facts: black)
    valid = read_predictions(run / "valid_predictions.csv")
    labels = pd.Categorical(valid["label"], facts["class_names"]).codes.astype("int64")
    said = try_int8(run, facts, Validation(pictures_of(facts, valid["file"]), labels))["int8"]
    assert not said["kept"] and said["same"] < 0.9 and said["only_float_right"] > 0
    assert not (run / "export" / "model.int8.onnx").exists()
    assert "int8 is not as good, and not kept" in caplog.text
