"""What a run writes down of its losses, and what it makes of one that is no number."""

from math import nan
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.precision import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_fine_tune import loader, random_tensors, small_network  # noqa: F401
from torch import Tensor

from paddy_lightning.choices import Keep
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.soft_targets import SoftBatch
from paddy_lightning.errors import DivergedError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.training.checkpoints import Checkpoints
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.run_log import RunLog
from paddy_lightning.training.schedule import fine_tune


class Recording(Classifier):
    """Notes its losses; those of some batches are no numbers, and may spoil a mean for good."""

    def __init__(self, lost: tuple[int, ...] = (), spoils: bool = False) -> None:
        torch.manual_seed(1)
        super().__init__(small_network(), 4)
        self.losses: list[float] = []
        self.lost, self.spoils = lost, spoils

    def training_step(self, batch: Batch | SoftBatch, batch_idx: int) -> Tensor:
        if len(self.losses) in self.lost:
            batch = batch._replace(image=batch.image * torch.inf)
        loss = super().training_step(batch, batch_idx)
        self.losses.append(float(loss.detach()))
        return loss

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.means = {name: buffer.clone() for name, buffer in self.named_buffers()}

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        for name, buffer in self.named_buffers():
            if not self.spoils:
                buffer.copy_(self.means[name])


def fit(module: Classifier, tensors: dict[str, Tensor], folder: Path, **more: Any) -> RunLog:
    """Two epochs of six batches."""
    run_log = RunLog(folder, [0.5] * 3, [0.5] * 3)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[FineTune(fine_tune(1, 3e-3)), run_log],
        logger=TensorBoardLogger(folder, name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **more,
    )
    trainer.fit(
        module,
        loader(tensors["x_train"], tensors["y_train"]),
        loader(tensors["x_valid"], tensors["y_valid"]),
    )
    return run_log


def told(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("train_loss")]


@pytest.mark.parametrize(
    ("accumulate", "steps"),
    [(1, [[batch] for batch in range(12)]), (4, [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11]])],
)
def test_tensorboard_has_the_mean_loss_of_every_step(
    random_tensors: dict[str, Tensor],  # noqa: F811
    tmp_path: Path,
    accumulate: int,
    steps: list[list[int]],
) -> None:
    module = Recording()
    fit(module, random_tensors, tmp_path, accumulate_grad_batches=accumulate)
    found = told(tmp_path)
    assert [step for step, _ in found] == list(range(1, len(steps) + 1))
    means = [sum(module.losses[batch] for batch in step) / len(step) for step in steps]
    assert [loss for _, loss in found] == pytest.approx(means, rel=1e-5)


def test_a_lost_loss_ends_the_run(
    random_tensors: dict[str, Tensor],  # noqa: F811
    tmp_path: Path,
) -> None:
    with pytest.raises(DivergedError, match=r"the loss is nan at step 9 \(epoch 2\)") as ended:
        fit(Recording(lost=(8,)), random_tensors, tmp_path)
    assert "a new run with a lower lr= may help" in str(ended.value)
    assert f"start={tmp_path} takes what it kept along" in str(ended.value)
    assert "precision=" not in str(ended.value)


def scaled() -> MixedPrecision:
    """16-mixed with its scaler, as on a GPU."""
    return MixedPrecision("16-mixed", "cpu")


def test_a_step_that_the_scaler_skips_does_not(
    random_tensors: dict[str, Tensor],  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    run_log = fit(Recording(lost=(0, 8)), random_tensors, tmp_path, plugins=[scaled()])
    assert caplog.text.count("16-mixed skipped 1 steps, whose loss was not finite") == 2
    assert all(row["train_loss"] > 0 and row["valid_loss"] > 0 for row in run_log.epochs)


def test_but_a_network_that_is_lost_with_it_does(
    random_tensors: dict[str, Tensor],  # noqa: F811
    tmp_path: Path,
) -> None:
    with pytest.raises(DivergedError, match="with precision=32-true, may help"):
        fit(Recording(lost=(8,), spoils=True), random_tensors, tmp_path, plugins=[scaled()])


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(Keep.error, [0, 1, 3, 4]), (Keep.loss, [0, 1, 3]), (Keep.last, [0, 1, 3, 4])],
)
def test_an_epoch_that_cannot_be_judged_is_never_the_best(
    tmp_path: Path, keep: Keep, kept: list[int]
) -> None:
    """But it is kept while there is no other, so that a run has something to look at."""
    saved: list[tuple[str, int]] = []
    epochs = iter([(0.1, nan), (0.5, 2.0), (0.2, nan), (0.5, 1.9), (0.4, 3.0)])

    class Trainer:
        callback_metrics: dict[str, float] = {}  # noqa: RUF012
        current_epoch = 0

        def save_checkpoint(self, path: Path, weights_only: bool = False) -> None:
            saved.append((path.name, number))

    trainer: Any = Trainer()
    checkpoints = Checkpoints(tmp_path, keep)
    for number, (error_rate, valid_loss) in enumerate(epochs):
        trainer.callback_metrics = {"error_rate": error_rate, "valid_loss": valid_loss}
        trainer.current_epoch = number
        checkpoints.on_train_epoch_end(trainer, pl.LightningModule())
    assert [number for name, number in saved if name == "best.ckpt"] == kept
