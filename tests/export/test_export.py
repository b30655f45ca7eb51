"""A run as one ONNX file: the same answers, whatever the arch and the batch, or none at all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from desk import one_sentence
from small import small

from paddy_lightning.command_configs import ExportConfig
from paddy_lightning.data.augment import Augment
from paddy_lightning.errors import UserError
from paddy_lightning.export import export, onnx_file
from paddy_lightning.export.export import export_run, run_export
from paddy_lightning.export.graph import Graph, resize_matrix
from paddy_lightning.network.model import build_model
from paddy_lightning.runs.calibration import temperature_of
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.runtime.model import Model
from paddy_lightning.training.train import train


def typed(*words: object) -> "subprocess.CompletedProcess[str]":
    """A command of ``paddy``."""
    start = [sys.executable, "-m", "paddy_lightning"]
    return subprocess.run([*start, *map(str, words)], capture_output=True, text=True)


def test_an_export_says_what_the_checkpoint_says_and_keeps_the_proof(exported: Path) -> None:
    proof = json.loads((exported / "export" / "parity.json").read_text())
    found = proof["forms"]["model.onnx"]
    assert found["largest_difference"] < 1e-5 and found["labels_differ"] == 0
    error_rate = json.loads((exported / "summary.json").read_text())["error_rate"]
    assert found["error_rate"] == pytest.approx(error_rate)
    assert proof["pictures"] == 12 and {path.name for path in (exported / "export").iterdir()} == {
        *("model.onnx", "parity.json")
    }


def test_a_file_says_of_itself_what_a_reader_must_know(exported: Path) -> None:
    facts = Model(exported / "export" / "model.onnx").facts
    assert facts["class_names"] == ["across", "down", "slanted"]
    assert (facts["presize"], facts["size"]) == ([48, 40], [40, 32])
    assert (facts["resize"], facts["pad_mode"], facts["draft"]) == ("pad", "zeros", True)
    assert facts["arch"] == "resnet10t.c3_in1k" and facts["licence"] == "none"
    assert facts["temperature"] == temperature_of(load_checkpoint(exported)) != 1
    assert len(facts["mean"]) == len(facts["std"]) == 3
    content = (exported / "export" / "model.onnx").read_bytes()
    for folder in (exported, Path(__file__).parents[2]):  # whoever gets it need not know them
        assert str(folder).encode() not in content


def test_with_tta_it_also_sees_each_picture_in_a_mirror(exported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(exported, tmp_path / "run")
    plain = Model(run / "export" / "model.onnx")
    both = Model(run_export(ExportConfig(str(run), tta=True)))
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 40, 3), np.uint8)
    mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
    probabilities, where = both.look(pictures)
    assert np.abs(probabilities - (plain(pictures) + plain(mirrored)) / 2).max() < 1e-5
    assert np.abs(where - plain.look(pictures)[1]).max() < 1e-5
    assert np.abs(plain(pictures) - plain(mirrored)).max() > 1e-3
    assert both.facts["tta"] and not plain.facts["tta"]


@pytest.mark.parametrize("batch", [1, 5])
def test_a_batch_may_have_any_size(exported: Path, batch: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 40, 3), np.uint8)
    model = Model(exported / "export" / "model.onnx")
    probabilities, activation = model.look(pictures[:batch])
    assert probabilities.shape == (batch, 3) and activation.shape == (batch, 2, 1)
    assert probabilities.dtype == activation.dtype == np.float32
    assert np.abs(probabilities - model(pictures)[:batch]).max() < 1e-6
    assert np.abs(probabilities.sum(1) - 1).max() < 1e-5


@pytest.mark.parametrize(
    ("presize", "size"),
    [((48, 40), (40, 32)), ((480, 360), (128, 96)), ((100, 64), (128, 224)), ((67, 131), (31, 16))],
)
def test_two_matrices_are_the_warp(presize: tuple[int, int], size: tuple[int, int]) -> None:
    network = build_model("resnet10t", 3, "none", (64, 64)).eval()
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    graph = Graph(network, presize, size, mean, std)
    pictures = torch.randint(0, 256, (2, *presize, 3), dtype=torch.uint8)
    want = Augment(size, mean, std).plain(pictures)
    assert (graph.seen(pictures) - want).abs().max() < 1e-5
    assert (resize_matrix(presize[0], size[0]).sum(1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("arch", ["resnet10t", "test_convnext", "swin_tiny_patch4_window7_224"])
def test_where_it_looked_is_grad_cam(arch: str) -> None:
    torch.manual_seed(0)
    network = build_model(arch, 3, "none", (64, 64)).eval()
    for layer in network.head:  # as after some training
        if isinstance(layer, torch.nn.BatchNorm1d):
            for values in (layer.weight, layer.bias, layer.running_mean):
                torch.nn.init.normal_(values)  # type: ignore[arg-type]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    graph = Graph(network, (80, 80), (64, 64), network.mean, network.std)
    pictures = torch.randint(0, 256, (4, 80, 80, 3), dtype=torch.uint8)
    with torch.no_grad():
        probabilities, found = graph(pictures)
        seen = graph.seen(pictures)
    want = LayerGradCam(network, network.head[0]).attribute(
        seen, probabilities.argmax(1), attribute_to_layer_input=True, relu_attributions=True
    )[:, 0]
    assert found.amax() > 0
    assert (found - want / want.amax((1, 2), keepdim=True).clamp_min(1e-12)).abs().max() < 1e-4


def test_a_body_that_pools_itself_says_no_more_than_its_answer(
    stripes: Path, tmp_path: Path
) -> None:
    changes = {"arch": "test_vit", "size": (48, 32), "epochs": 1, "freeze_epochs": 0}
    train(small(stripes, **changes), tmp_path / "run")
    model = Model(run_export(ExportConfig(str(tmp_path / "run"))))
    assert not model.tells_where
    with pytest.raises(UserError, match="does not tell where it looks"):
        model.look(np.zeros((1, 48, 40, 3), np.uint8))


def test_a_graph_that_differs_is_refused_and_removed(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export of somewhat other weights; what an earlier one left stays as it was."""
    run = shutil.copytree(exported, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (run / "export").iterdir()}

    def write_others(checkpoint: dict[str, Any], path: Path, tta: bool) -> None:
        weights = {name: 1.01 * one for name, one in checkpoint["state_dict"].items()}
        onnx_file.write_onnx(checkpoint | {"state_dict": weights}, path, tta)

    monkeypatch.setattr(export, "write_onnx", write_others)
    for left in (before, None):
        with pytest.raises(UserError, match="does not say what the checkpoint says"):
            export_run(run)
        if left:
            assert {path.name: path.read_bytes() for path in (run / "export").iterdir()} == left
            shutil.rmtree(run / "export")
    assert not (run / "export").exists()


def test_an_earlier_export_is_kept_under_another_name(exported: Path, tmp_path: Path) -> None:
    run = shutil.copytree(exported, tmp_path / "run")
    first = (run / "export" / "model.onnx").read_bytes()
    found = typed("export", f"run={run}")
    assert found.returncode == 0 and "kept what was there as" in found.stdout
    assert "on the 12 validation pictures:" in found.stdout and not found.stderr
    assert (run / "export" / "model.1.onnx").read_bytes() == first
    assert {path.name for path in (run / "export").iterdir()} == {
        *("model.onnx", "model.1.onnx", "parity.json", "parity.1.json")
    }


def test_what_cannot_be_exported_is_one_sentence(exported: Path, tmp_path: Path) -> None:
    unfinished = shutil.copytree(exported, tmp_path / "unfinished")
    summary = json.loads((unfinished / "summary.json").read_text())
    (unfinished / "summary.json").write_text(json.dumps(summary | {"status": "failed"}))
    moved = shutil.copytree(exported, tmp_path / "moved")
    table = moved / "valid_predictions.csv"
    table.write_text(table.read_text().replace(".jpg", ".gone"))
    for words, said in (
        ([], "say which run, with run=RUN_FOLDER"),
        ([f"run={tmp_path}"], "not a run folder"),
        ([f"run={unfinished}"], "is not done; there is nothing to export yet"),
        ([f"run={moved}"], "cannot be read as a picture"),
    ):
        one_sentence(typed("export", *words), said)
