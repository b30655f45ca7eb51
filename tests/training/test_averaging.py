"""An average of the weights: what is validated, kept and gone on with is told of truly."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from small import small
from torch import Tensor

from paddy_lightning.choices import Keep
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training import max_time
from paddy_lightning.training.averaging import MOST, decay
from paddy_lightning.training.build import make_trainer
from paddy_lightning.training.train import resume, train


def test_the_average_is_short_at_first() -> None:
    """timm's ModelEmaV3 with use_warmup: 1 - (1 + step) ** -(2 / 3)."""
    assert decay(1) == pytest.approx(0.370, abs=1e-3) and decay(200) == pytest.approx(
        0.971, abs=1e-3
    )
    assert decay(10**6) == MOST and all(decay(step) < decay(step + 1) for step in range(1, 1000))


class Weights(pl.Callback):
    """Of every step, as they are trained."""

    def __init__(self) -> None:
        self.of_epoch: dict[int, list[dict[str, Tensor]]] = {}

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        now = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
        self.of_epoch.setdefault(trainer.current_epoch, []).append(now)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        if trainer.current_epoch not in self.of_epoch:
            now = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
            self.of_epoch[trainer.current_epoch] = [now]


def test_what_is_kept_is_the_average_of_its_phase(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, from the weights of every step since the phase began; and it trains as without."""
    watched: list[Weights] = []

    def with_watch(config: Any, run_dir: Path, num_train: int, callbacks: Any) -> pl.Trainer:
        watched.append(Weights())
        return make_trainer(config, run_dir, num_train, [*callbacks, watched[-1]])

    monkeypatch.setattr("paddy_lightning.training.train.make_trainer", with_watch)
    config = small(stripes, epochs=2, keep=Keep.last)
    for ema in (False, True):
        config.ema = ema
        train(config, tmp_path / str(ema))
    plain, averaged = (watch.of_epoch for watch in watched)
    for epoch, steps in plain.items():
        for ours, theirs in zip(steps, averaged[epoch], strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    start, *steps = averaged[1] + averaged[2][1:]  # the frozen epoch is another phase
    for name, kept in load_checkpoint(tmp_path / "True")["state_dict"].items():
        short = name.removeprefix("model.")
        if short == name or not kept.is_floating_point():
            continue
        expected = start[short]
        for number, step in enumerate(steps, start=1):
            expected = torch.lerp(expected, step[short], 1 - decay(number))
        torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-6)


def test_the_error_that_is_told_is_that_of_the_file(stripes: Path, tmp_path: Path) -> None:
    """The row of its epoch, and what the checkpoint gives when it is evaluated."""
    told = train(small(stripes, epochs=3, ema=True, lr=3e-2), tmp_path / "run")
    epochs = pd.read_csv(tmp_path / "run" / "metrics.csv").set_index("epoch")
    kept = epochs.loc[told["kept_epoch"]]
    assert told["error_rate"] == pytest.approx(kept["error_rate"], abs=1e-6)
    assert told["valid_loss"] == pytest.approx(kept["valid_loss"], rel=1e-4)


def test_a_stopped_run_goes_on_bit_for_bit(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(stripes, epochs=3, ema=True)
    train(config, tmp_path / "whole")
    clock = iter(range(100))
    monkeypatch.setattr(max_time, "monotonic", lambda: next(clock))
    config.trainer = {"max_time": "00:00:00:08"}
    assert train(config, tmp_path / "stopped")["status"] == "stopped"
    resume(tmp_path / "stopped", trainer={"max_time": None})
    whole, stopped = (
        pd.read_csv(tmp_path / name / "metrics.csv")[["train_loss", "valid_loss", "error_rate"]]
        for name in ("whole", "stopped")
    )
    pd.testing.assert_frame_equal(whole, stopped, check_exact=True)
    first, second = (load_checkpoint(tmp_path / n)["state_dict"] for n in ("whole", "stopped"))
    assert all(torch.equal(first[name], second[name]) for name in first)
