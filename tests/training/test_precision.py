"""Every precision trains, evaluates, resumes, predicts, draws and is searched a rate for."""

from pathlib import Path

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from small import calibrated, small

from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.trainer import usable_precision
from paddy_lightning.training import max_time
from paddy_lightning.training.check import PRECISIONS, check
from paddy_lightning.training.checkpoints import Checkpoints
from paddy_lightning.training.train import find_lr, resume, train

KINDS = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


@pytest.mark.parametrize("precision", [*KINDS, "bf16-mixed"])
def test_every_precision_works(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    ends: dict[str, dict[str, torch.Tensor]] = {}
    save = Checkpoints.on_train_epoch_end

    def save_and_note(self: Checkpoints, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        save(self, trainer, module)
        weights = module.state_dict().items()
        ends[self.last.parents[1].name] = {name: tensor.clone() for name, tensor in weights}

    monkeypatch.setattr(Checkpoints, "on_train_epoch_end", save_and_note)
    config = small(stripes, precision=precision, tta=True, epochs=1)
    run = tmp_path / "run"
    whole = train(config, run)
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    kinds = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    assert kinds == {KINDS.get(precision, torch.float32)}
    valid = calibrated(run)
    found = predict(run, stripes / "train_images").set_index("file").loc[valid.index]
    for name in ("across", "down", "slanted"):
        assert abs(found[name] - valid[name]).max() < 1e-6
    epochs = pd.read_csv(run / "metrics.csv").set_index("epoch")
    best = epochs.loc[whole["kept_epoch"]]
    assert best["valid_loss"] == pytest.approx(whole["valid_loss"], rel=1e-4)
    assert best["error_rate"] == pytest.approx(whole["error_rate"], abs=1e-6)
    assert (run / "figures" / "top_losses.png").exists()

    clock = iter(range(100))
    monkeypatch.setattr(max_time, "monotonic", lambda: next(clock))
    config.trainer = {"max_time": "00:00:00:05"}  # in the second epoch
    assert train(config, tmp_path / "stopped")["status"] == "stopped"
    resume(tmp_path / "stopped", trainer={"max_time": None})
    assert all(torch.equal(ends["run"][name], ends["stopped"][name]) for name in ends["run"])


@pytest.mark.parametrize("precision", KINDS)
def test_the_finder_takes_every_precision(stripes: Path, tmp_path: Path, precision: str) -> None:
    assert min(find_lr(small(stripes, precision=precision), tmp_path).values()) > 0


@pytest.mark.parametrize("precision", ["16", "bf16", "64", "half", "fp16", 32])
def test_other_words_are_refused(precision: str) -> None:
    with pytest.raises(UserError, match=rf"^precision={precision}: not one of 32-true, "):
        check(TrainConfig(precision=precision))


def test_mixed_precision_is_for_the_device_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert usable_precision("16-mixed") == "16-mixed"
    assert usable_precision("16-mixed", "cpu") == "32-true"
    assert usable_precision("bf16-true", "cpu") == "bf16-true"
    for has_amx, told in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=has_amx: has)
        assert usable_precision("bf16-mixed", "cpu") == told
    assert set(KINDS) < set(PRECISIONS)
