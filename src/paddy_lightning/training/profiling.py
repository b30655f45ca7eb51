"""Where an epoch's time goes: Lightning's own markers, summed up by what they stand for."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import Profiler

from paddy_lightning.csv_tables import write_table

log = logging.getLogger(__name__)

DATA, AUGMENTATION, FORWARD, BACKWARD, OPTIMIZER, VALIDATION, REST = PARTS = (
    "waiting for data",
    "augmentation",
    "forward",
    "backward",
    "optimizer",
    "validation",
    "the rest",
)
ACTIONS = {  # the last word of a marker -> what it stands for
    "run_training_epoch": REST,
    "train_dataloader_next": DATA,
    "transfer_batch_to_device": AUGMENTATION,
    "training_step": FORWARD,
    "backward": BACKWARD,
    "optimizer_step": OPTIMIZER,
    VALIDATION: VALIDATION,  # ours
}
MUCH = 0.15  # share of an epoch that is worth a word


class EpochProfiler(Profiler):
    """Adds up the seconds of training epochs by part.

    Parts lie in one another (the optimizer's marker holds forward and backward); every moment
    counts for the innermost. On a GPU each marker waits for what was queued, which costs some
    speed and puts the time where it belongs.

    Attributes:
        seconds: Of all epochs together, by part.
        epochs: How many there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.epochs = 0
        self._open: list[str] = []
        self._since = 0.0

    def start(self, action_name: str) -> None:
        """Enter a part; all that lies in validation is validation."""
        word = _last_word(action_name)
        if word in ACTIONS and VALIDATION not in self._open:
            self._enter(ACTIONS[word])

    def stop(self, action_name: str) -> None:
        """Leave a part."""
        word = _last_word(action_name)
        if word in ACTIONS and (word == VALIDATION or VALIDATION not in self._open):
            self._leave(ACTIONS[word])
            self.epochs += word == "run_training_epoch"

    def _enter(self, part: str) -> None:
        if self._open or part == REST:  # what comes before the first epoch does not count
            self._charge()
            self._open.append(part)

    def _leave(self, part: str) -> None:
        if self._open and self._open[-1] == part:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        """The time since the last marker goes to the innermost part."""
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def table(self) -> pd.DataFrame:
        """``part, seconds`` (of a mean epoch) and ``share``, a row a part."""
        seconds = pd.Series(self.seconds) / max(self.epochs, 1)
        return pd.DataFrame(
            {"part": PARTS, "seconds": seconds.to_numpy(), "share": (seconds / seconds.sum())}
        ).reset_index(drop=True)


class MarkValidation(pl.Callback):
    """Sets the marker that Lightning lacks: the whole of a validation.

    Args:
        profiler: Of the run.
    """

    def __init__(self, profiler: EpochProfiler) -> None:
        self.profiler = profiler

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It begins."""
        del trainer, pl_module
        self.profiler.start(VALIDATION)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It is over."""
        del trainer, pl_module
        self.profiler.stop(VALIDATION)


def tell_profile(trainer: pl.Trainer, run_dir: Path, num_workers: int, kept: bool) -> None:
    """``write_profile``, if ``profile=true`` asked for it."""
    profiler: Any = trainer.profiler  # type: ignore[attr-defined]  # which Lightning sets unseen
    if isinstance(profiler, EpochProfiler):
        write_profile(run_dir, profiler, num_workers, kept)


def write_profile(
    run_dir: Path, profiler: EpochProfiler, num_workers: int, has_cache: bool
) -> None:
    """``profile.csv``; and the same for the terminal, with a sentence of advice."""
    parts = profiler.table()
    write_table(run_dir / "profile.csv", parts)
    told = parts.to_string(index=False, float_format="{:.3f}".format)
    said = advice(parts, num_workers, has_cache)
    log.info("where the time of a mean epoch went:\n%s\n%s", told, said)


def advice(table: pd.DataFrame, num_workers: int, has_cache: bool) -> str:
    """One sentence on what would make an epoch shorter.

    Args:
        table: Of ``EpochProfiler.table``.
        num_workers: Of the run.
        has_cache: Whether pictures came presized.
    """
    share = table.set_index("part")["share"]
    model = share[[FORWARD, BACKWARD, OPTIMIZER]].sum()
    if share[DATA] > MUCH and not has_cache:
        return f"{share[DATA]:.0%} is waiting for data: let presized pictures be kept (cache=)"
    if (
        share[DATA] > MUCH
        and torch.accelerator.is_available()
        and num_workers < (os.cpu_count() or 1)
    ):
        return f"{share[DATA]:.0%} is waiting for data: more workers (num_workers={os.cpu_count()})"
    if share[DATA] > MUCH:
        return f"{share[DATA]:.0%} is waiting for data: a smaller presize= makes less to read"
    if share[AUGMENTATION] > MUCH:
        return f"{share[AUGMENTATION]:.0%} is augmentation: a presize= nearer to size= is faster"
    if share[REST] > MUCH:
        return f"{share[REST]:.0%} is neither data nor network: a larger batch_size= has less of it"
    return f"{model:.0%} is the network itself: only a smaller arch= or size= makes it faster"


def _last_word(action_name: str) -> str:
    return action_name.rsplit(".", 1)[-1]
