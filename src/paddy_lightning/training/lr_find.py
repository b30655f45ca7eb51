"""The learning-rate finder: losses over growing rates, and four ways to read a rate off them.

Lightning runs the search (Smith, Cyclical Learning Rates for Training Neural Networks, 2017), as
fastai's ``lr_find`` does: from 1e-7 to 10 in 100 steps, one rate for all groups. The four readings
are fastai's.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stderr
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner.tuning import Tuner
from torch import Tensor

from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.soft_targets import SoftBatch
from paddy_lightning.errors import UserError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.param_groups import param_groups
from paddy_lightning.runs.trainer import lightning_trainer
from paddy_lightning.training.trainer_arguments import ONE_STEP, given, one_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_LR, MAX_LR = 1e-7, 10.0
NUM_TRAINING = 100
DIVERGED = 4.0  # times the best loss: stop there
SKIPPED = (NUM_TRAINING // 10, 5)  # points at the start and the end that no reading looks at


class Searched(Classifier):
    """A classifier for one search, with the momentum of fastai's plain optimizer."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._of_step: list[Tensor] = []

    def training_step(self, batch: Batch | SoftBatch, batch_idx: int) -> Tensor:
        """As in training; but the last of a step's batches, which alone is looked at, has the mean
        of their losses for its value.
        """
        loss = super().training_step(batch, batch_idx)
        accumulate = self.trainer.accumulate_grad_batches
        if accumulate == 1:
            return loss
        self._of_step.append(loss.detach())
        if (batch_idx + 1) % accumulate:
            return loss
        mean = torch.stack(self._of_step).mean()
        self._of_step = []
        return loss + (mean - loss.detach())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with momentum .9, as fastai has it outside of one-cycle."""
        groups = param_groups(self.model, self.weight_decay, self.layer_decay)
        fused = not self.trainer.gradient_clip_val
        return torch.optim.AdamW(groups, lr=MIN_LR, betas=(0.9, 0.99), eps=1e-5, fused=fused)


def search(
    module: Searched,
    datamodule: PaddyDataModule,
    precision: str,
    arguments: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Train for 100 steps at growing rates. The module is of no use afterwards.

    Args:
        module: Frozen as in the phase that the rate is for.
        datamodule: With training pictures.
        precision: As in training.
        arguments: Of Lightning's Trainer, as in training. A rate goes with a number of pictures a
            step, so ``accumulate_grad_batches`` counts; where an epoch has fewer batches, as many
            as it has.

    Returns:
        ``lr`` and ``loss`` (smoothed, beta .98, debiased), a row a step; fewer than 100 where the
        loss grew to four times its best.

    Raises:
        KeyboardInterrupt: It was interrupted.
        UserError: Fewer steps than any reading needs.
    """
    # The search has a bar of its own that cannot be turned off, and would fill a log file.
    bar = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    with bar, tempfile.TemporaryDirectory() as folder:  # for a checkpoint that Lightning wants
        trainer = _trainer(arguments or {}, len(datamodule.train_dataloader()), precision, folder)
        try:
            finder: Any = Tuner(trainer).lr_find(
                module,
                datamodule=datamodule,
                min_lr=MIN_LR,
                max_lr=MAX_LR,
                num_training=NUM_TRAINING,
                early_stop_threshold=DIVERGED,
                update_attr=False,
            )
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
    curve = pd.DataFrame({"lr": finder.results["lr"], "loss": finder.results["loss"]})
    curve["loss"] *= trainer.accumulate_grad_batches  # by which Lightning has divided it
    if len(readable(curve)) < 3:
        raise UserError("lr=find: the loss grew at once; give a rate, such as lr=2e-3")
    return curve


def _trainer(arguments: Mapping[str, Any], batches: int, precision: str, folder: str) -> pl.Trainer:
    """One whose steps are those of training; ``batches`` are those of an epoch."""
    accumulate = min(given(arguments).get("accumulate_grad_batches", 1), batches)
    return lightning_trainer(
        **one_device(arguments),
        **given(arguments, ONE_STEP) | {"accumulate_grad_batches": accumulate},
        # A step cut short by the end of an epoch would leave no loss behind.
        limit_train_batches=batches - batches % accumulate,
        precision=precision,
        max_epochs=-1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        check_val_every_n_epoch=10**6,  # the search goes around the loader, and never validates
    )


def readable(curve: pd.DataFrame) -> pd.DataFrame:
    """The part of a curve that readings look at: without its ends, and up to the first nan."""
    first, last = SKIPPED
    part = curve.iloc[first:-last].reset_index(drop=True)
    lost = part["loss"].isna()
    return part.iloc[: int(lost.argmax())] if lost.any() else part


def suggestions(curve: pd.DataFrame) -> dict[str, float]:
    """A rate by each of the four readings, by name."""
    part = readable(curve)
    lrs, losses = part["lr"].to_numpy(np.float64), part["loss"].to_numpy(np.float32)
    return {reading.__name__: float(reading(lrs, losses)) for reading in READINGS}


def minimum(lrs: np.ndarray, losses: np.ndarray) -> float:
    """A tenth of the rate with the lowest loss."""
    return lrs[losses.argmin()] / 10


def steep(lrs: np.ndarray, losses: np.ndarray) -> float:
    """Where the loss falls most steeply over the logarithm of the rate."""
    slopes = np.diff(losses) / np.diff(np.log(lrs.astype(np.float32)))
    return lrs[slopes.argmin()]


def valley(lrs: np.ndarray, losses: np.ndarray) -> float:
    """Two thirds into the longest valley: the longest run of ever lower losses, gaps allowed."""
    length = np.ones(len(losses), int)  # of the longest such run that ends here
    for here in range(1, len(losses)):
        higher = losses[:here] > losses[here]
        length[here] += max(length[:here][higher], default=0)
    end = int(length.argmax())
    # As fastai counts: the valley is as many points wide as it has members.
    third = length[end] / 3
    return lrs[end - length[end] + int(third) + int(third / 2)]


def slide(lrs: np.ndarray, losses: np.ndarray) -> float:
    """Before the last steep rise, coming from the right: where slopes 15 apart are alike."""
    slopes = np.gradient(losses)
    right, left = -1, -1 - SLIDE_WIDTH
    found = lrs[max(left, -len(lrs))]
    while left >= -len(losses) and abs(slopes[right] - slopes[left]) > SLIDE_ALIKE:
        found = lrs[left]
        right, left = right - 1, left - 1
    return found


SLIDE_WIDTH = 15
SLIDE_ALIKE = 0.005
READINGS: tuple[Callable[[np.ndarray, np.ndarray], float], ...] = (minimum, steep, valley, slide)


def plot(curve: pd.DataFrame, rates: dict[str, float]) -> "Figure":
    """The curve, with the four rates marked on it."""
    from paddy_lightning.insight.figures import new_figure

    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    part = readable(curve)
    axes.plot(part["lr"], part["loss"], color="0.3")
    for markersize, (name, lr) in zip((14, 11, 8, 5), rates.items(), strict=True):
        loss = np.interp(np.log(lr), np.log(part["lr"]), part["loss"])
        axes.plot(lr, loss, "o", markersize=markersize, label=f"{name} {lr:.2g}")  # may coincide
    axes.set(xscale="log", xlabel="learning rate", ylabel="train loss (smoothed)")
    axes.legend()
    return figure
