"""Which validation pictures each epoch got right: ``valid_right.csv``, a bit a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.pictures import Batch

RIGHT = "valid_right.csv"
MARKS = "-01"  # not looked at, wrong, right


class ValidRight(pl.Callback):
    """Keeps a row an epoch: ``epoch`` (from 1) and ``right``, a mark a picture.

    Args:
        run_dir: The run folder.
        valid_rows: int64, the rows of the validation pictures in their table; the marks are in
            this order, which is that of ``valid_predictions.csv``.
    """

    def __init__(self, run_dir: Path, valid_rows: np.ndarray) -> None:
        self.path = run_dir / RIGHT
        self.valid_rows = valid_rows
        self.right: dict[int, str] = {}
        self._seen: list[tuple[Tensor, Tensor]] | None = None  # of an epoch that validates

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"right": self.right}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.right = state_dict["right"]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        del pl_module
        self._seen = None if trainer.sanity_checking else []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what was right where it is: reading it here would make the device wait."""
        del trainer, pl_module, batch_idx, dataloader_idx
        if self._seen is not None:
            self._seen.append((batch.index, outputs))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather it from all ranks."""
        if self._seen is None:
            return
        marks = torch.zeros(
            int(self.valid_rows.max()) + 1, dtype=torch.int, device=pl_module.device
        )
        for index, right in self._seen:
            marks[index] = 1 + right.int()
        found: Any = trainer.strategy.reduce(marks, reduce_op="sum")
        kept = found.cpu().numpy()[self.valid_rows]
        self.right[trainer.current_epoch + 1] = "".join(MARKS[mark] for mark in kept)
        self._seen = None

    def write(self) -> None:
        """Write it down; until the end checkpoints have it."""
        write_table(self.path, pd.DataFrame(self.right.items(), columns=["epoch", "right"]))


def read_right(run_dir: Path) -> dict[int, np.ndarray]:
    """By epoch, int8 [N]: 1 where it got a picture right, 0 where not, -1 where it saw none.

    Nothing of a run that did not keep it.
    """
    path = run_dir / RIGHT
    if not path.is_file():
        return {}
    rows = pd.read_csv(path, dtype={"right": str})
    return {
        int(epoch): np.array([MARKS.index(mark) - 1 for mark in marks], np.int8)
        for epoch, marks in zip(rows["epoch"], rows["right"], strict=True)
    }
