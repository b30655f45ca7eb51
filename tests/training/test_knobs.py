"""Knobs of how a network trains: each reaches its place, and what predicts knows of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small import small

from paddy_lightning.choices import ClassWeights, Keep
from paddy_lightning.data.pictures import Batch
from paddy_lightning.errors import UserError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import build_model
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.summary import WHY_KEPT
from paddy_lightning.runs.trained import load_checkpoint, load_network
from paddy_lightning.training.check import check
from paddy_lightning.training.targets import class_weights
from paddy_lightning.training.train import train

CHANGES: dict[str, dict[str, Any]] = {
    "lr_mult": {"lr_mult": 30.0},
    "layer_decay": {"lr_mult": 1.0, "layer_decay": 0.5},
    "bn": {"bn": "freeze"},
    "weight_decay": {"weight_decay": 0.5},
    "drop_rate": {"drop_rate": 0.25},
    "label_smoothing": {"label_smoothing": 0.2},
    "class_weights": {"class_weights": "balanced"},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "mixup and cutmix": {"mixup": 0.4, "cutmix": 1.0},
    "arch_args": {"arch_args": {"drop_path_rate": 0.5}},
}


@pytest.fixture(scope="module")
def plain(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The epochs of a run with the defaults."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(small(stripes, epochs=1), folder)
    return pd.read_csv(folder / "metrics.csv")


@pytest.mark.parametrize("name", CHANGES)
def test_a_knob_changes_the_losses(
    name: str, plain: pd.DataFrame, stripes: Path, tmp_path: Path
) -> None:
    """And the very phase it is for: what is of the unfrozen one leaves the first epoch alone."""
    train(small(stripes, epochs=1, **CHANGES[name]), tmp_path / "run")
    changed = pd.read_csv(tmp_path / "run" / "metrics.csv")["train_loss"] != plain["train_loss"]
    assert changed.iloc[1] and changed.iloc[0] == (name not in ("lr_mult",))


def test_arguments_of_the_arch_are_in_the_checkpoint(stripes: Path, tmp_path: Path) -> None:
    """Also such without which the weights do not fit."""
    config = small(stripes, arch="resnet10t", epochs=1, freeze_epochs=0)
    told = train(replace(config, arch_args={"stem_width": 24}), tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint["hyper_parameters"]["arch_args"] == {"stem_width": 24}
    usual = build_model("resnet10t", 3, "none").state_dict()
    ours = load_network(checkpoint).state_dict()
    assert any(usual[name].shape != weights.shape for name, weights in ours.items())
    assert len(predict(tmp_path / "run")) == 8
    assert (
        json.loads((tmp_path / "run" / "summary.json").read_text())["error_rate"]
        == (told["error_rate"])
    )


def test_a_checkpoint_from_before_these_knobs_is_read(stripes: Path, tmp_path: Path) -> None:
    train(small(stripes, epochs=1), tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["hyper_parameters"]["arch_args"]
    torch.save(checkpoint, file)
    assert len(predict(tmp_path / "run")) == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr_mult": 0.0}, r"lr_mult=0\.0: must be above 0"),
        ({"drop_rate": 1.0}, r"drop_rate=1\.0: must be at least 0, below 1"),
        ({"lr_mult": 3.0, "schedule": "one_cycle"}, "goes with schedule=fine_tune only"),
        ({"layer_decay": 1.5}, r"layer_decay=1\.5: must be above 0 and at most 1"),
        ({"weight_decay": -1.0}, r"weight_decay=-1\.0: must be at least 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1\.0: must be at least 0, below 1"),
        ({"mixup": -0.1}, r"mixup=-0\.1: must be at least 0, such as 0\.4 or 1"),
        ({"cutmix": float("nan")}, "cutmix=nan: must be at least 0"),
        ({"mixup": float("inf")}, "mixup=inf: must be at least 0"),
        ({"soft_labels": "none.csv"}, r"soft_labels=none\.csv: no such file"),
        ({"soft_share": 1.5}, r"soft_share=1\.5: must be from 0 to 1"),
        ({"soft_share": 0.5}, r"soft_share=0\.5: goes with soft_labels= only"),
        ({"arch_args": {"pretrained": True}}, "arch_args: pretrained is not yours to give"),
    ],
)
def test_what_cannot_be_trained_with_is_refused(
    stripes: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check(small(stripes, **change))


@pytest.mark.parametrize("keep", Keep)
def test_the_epoch_that_is_kept_is_the_one_that_is_told(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, keep: Keep
) -> None:
    """Its error and loss are those of its row, and the file's; the others' are told as well."""
    caplog.set_level("INFO")
    config = small(stripes, epochs=4, keep=keep, lr=3e-2)
    told = train(config, tmp_path / "run")
    epochs = pd.read_csv(tmp_path / "run" / "metrics.csv").set_index("epoch")
    wanted = {
        Keep.error: epochs.sort_values(["error_rate", "valid_loss"]).index[0],
        Keep.loss: epochs.sort_values(["valid_loss", "error_rate"]).index[0],
        Keep.last: epochs.index[-1],
    }
    kept = epochs.loc[told["kept_epoch"]]
    assert told["kept_epoch"] == wanted[keep] and told["keep"] == keep
    assert told["error_rate"] == pytest.approx(kept["error_rate"], abs=1e-6)
    assert told["valid_loss"] == pytest.approx(kept["valid_loss"], abs=1e-4)
    assert told["last_error_rate"] == pytest.approx(epochs["error_rate"].iloc[-1])
    assert told["lowest_error_rate"] == pytest.approx(epochs["error_rate"].min())
    assert f"(epoch {told['kept_epoch']}, {WHY_KEPT[keep]})" in caplog.text


def test_rare_classes_weigh_more_in_training_alone(stripes: Path) -> None:
    """By the training rows: each class the same in all, and a picture 1 in the mean."""
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10 + ["c"] * 50
    table = pd.DataFrame({"label": labels, "is_valid": [False] * 100 + [True] * 50})
    balanced = class_weights(ClassWeights.balanced, table, ["a", "b", "c"])
    root = class_weights(ClassWeights.sqrt, table, ["a", "b", "c"])
    assert class_weights(ClassWeights.none, table, ["a", "b", "c"]) is None
    assert balanced is not None and root is not None
    counts = torch.tensor([60.0, 30.0, 10.0])
    torch.testing.assert_close(balanced, 100 / (3 * counts))  # compute_class_weight("balanced")
    torch.testing.assert_close(root[1:] / root[:-1], (counts[:-1] / counts[1:]).sqrt())
    assert float(root @ counts) == pytest.approx(100)
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    batch = Batch(
        torch.randn(9, 3, 2, 2), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2]), torch.arange(9)
    )
    losses = torch.nn.functional.cross_entropy(body(batch.image), batch.label, reduction="none")
    module = Classifier(body, 3, class_weights=balanced)
    expected = (losses * balanced[batch.label]).mean()
    torch.testing.assert_close(module.training_step(batch, 0), expected)
    assert "class_weights" not in module.state_dict()
