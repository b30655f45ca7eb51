"""A training that ends when its time is over, and leaves something to go on with.

Own code where Lightning has ``Timer``: that one ends an epoch in its middle and calls it whole, so
that a resume would leave pictures out; and it counts the time before a resume, too.
"""

from pathlib import Path
from time import monotonic
from typing import Any

import pytorch_lightning as pl

from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.errors import UserError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.runs.summary import STOPPED, Summary
from paddy_lightning.runs.trainer import refusals_are_ours


class OutOfTimeError(Exception):
    """Training ends here; what counts is what the last whole epoch has saved."""


class MaxTime(pl.Callback):
    """Ends the training between two steps. The epoch it was in is repeated by a resume.

    Args:
        seconds: How long this start may train, counted from its first epoch.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self._end = monotonic() + self.seconds

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at it before every batch; of several ranks, all end with the first.

        Raises:
            OutOfTimeError: It is.
        """
        del pl_module, batch, batch_idx
        is_over = monotonic() >= self._end
        if trainer.strategy.reduce_boolean_decision(is_over, all=False):
            raise OutOfTimeError


def fit(
    trainer: pl.Trainer, module: Classifier, datamodule: PaddyDataModule, last: Path | None
) -> bool:
    """Train, or go on from a checkpoint.

    Returns:
        Whether the schedule's end was reached; not where ``trainer.max_time`` was over.

    Raises:
        UserError: Lightning refuses an argument of its Trainer for what it finds in the data.
    """
    try:
        with refusals_are_ours():
            trainer.fit(module, datamodule=datamodule, ckpt_path=last, weights_only=True)
    except OutOfTimeError:
        return False
    return True


def stopped_early(max_time: Any, epochs: int, all_epochs: int) -> Summary:
    """The status of a run whose time was over, and the reason.

    Args:
        max_time: As it was told.
        epochs: How many were trained, of all starts together.
        all_epochs: How many the schedule has.

    Raises:
        UserError: None were, so there is nothing to use.
    """
    if not epochs:
        raise UserError(
            f"trainer.max_time={max_time}: was over before the first epoch's end, and nothing is"
            " trained; give more time, or make epochs shorter with trainer.limit_train_batches="
        )
    reason = f"trainer.max_time={max_time} was over after {epochs} of {all_epochs} epochs"
    return {"status": STOPPED, "reason": reason}
