"""A table of pictures -> batches: uint8 from the workers, augmented once on the device."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from paddy_lightning.data.augment import Augment
from paddy_lightning.data.pictures import Batch, Pictures
from paddy_lightning.data.pixels import Kept
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.shown import UNPROVEN, Shown
from paddy_lightning.data.soft_targets import SoftTargets
from paddy_lightning.data.workers import start_method

log = logging.getLogger(__name__)


class EpochSampler(Sampler[tuple[int, int]]):
    """Rows in an order that depends on (seed, epoch) alone, each with its epoch.

    Args:
        rows: int64, the rows to draw from.
        seed: Of the run.
        epoch: The first; Lightning tells the later ones by ``set_epoch``. Of a resumed run, too,
            but only once the first order is drawn.
        rank: Of several processes that train together.
        world_size: How many they are.
    """

    def __init__(
        self,
        rows: np.ndarray,
        seed: int,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.rows = rows
        self.seed = seed
        self.epoch = epoch
        self.rank = rank
        self.world_size = world_size

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        """How many rows an epoch has for one rank."""
        return len(self.rows) // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every row once; of several ranks, each has every so-many-th of one common order."""
        epoch = self.epoch
        order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        ours = order[self.rank :: self.world_size][: len(self)]
        return ((int(row), epoch) for row in ours)


class PaddyDataModule(pl.LightningDataModule):
    """Loaders over one table, and the augmentation step on the device.

    Args:
        root: The folder that the table's files are relative to.
        table: With ``file``, ``label`` (may be missing values) and, to train, ``is_valid``.
        class_names: In the order of the network's outputs.
        presize: How workers open a file.
        augment: What happens to a batch on the device.
        kept: The pictures that are presized already.
        batch_size: Pictures a step, shared out among the ranks.
        num_workers: Processes that open pictures.
        seed: Of the run.
        tta: How many augmented views test-time augmentation adds to the plain one when
            predicting; 0 for none.
        soft_targets: Gives training batches theirs, and mixes their pictures; None for labels.
    """

    def __init__(
        self,
        root: Path,
        table: pd.DataFrame,
        class_names: list[str],
        presize: Presize,
        augment: Augment,
        kept: Kept | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 42,
        tta: int = 0,
        soft_targets: SoftTargets | None = None,
    ) -> None:
        super().__init__()
        codes = pd.Categorical(table.get("label", pd.Series(index=table.index)), class_names).codes
        labels = codes.astype(np.int64)
        self.pictures = Pictures(root, table["file"], labels, presize, kept, seed)
        is_valid = table.get("is_valid", pd.Series(True, index=table.index)).to_numpy()
        self.train_rows, self.valid_rows = np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
        self.augment = augment
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.tta = tta
        self.soft_targets = soft_targets
        self._first_epoch = 0
        self._sampler: EpochSampler | None = None

    def setup(self, stage: str) -> None:
        """Say so where pictures are not augmented on the device."""
        del stage
        if self._trainer().strategy.root_device.type == UNPROVEN:
            log.info("augmentation: on the CPU, as it was never tried on Apple's GPUs")

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled; an incomplete last batch is left out, as in fastai, unless it is all."""
        rows = self.train_rows
        self._sampler = EpochSampler(rows, self.seed, self._first_epoch, *self._ranks())
        return self._loader(self._sampler, drop_last=len(rows) >= self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation rows, in the table's order; of several ranks, each has its share."""
        rank, world_size = self._ranks()
        ours = self.valid_rows[rank::world_size]
        return self._loader(ours.tolist())

    def shown(self) -> Shown:
        """The validation rows, which are all rows of a table without a split, to be predicted."""
        rows, workers = self.valid_rows, self.num_workers
        return Shown(self.pictures, rows, self.augment, self.tta, self.batch_size, workers)

    def state_dict(self) -> dict[str, int]:
        """The epoch after this one: checkpoints are written at the end of an epoch."""
        return {"epoch": self._sampler.epoch + 1 if self._sampler else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        self._first_epoch = state_dict["epoch"]

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Augment in training, only resize otherwise.

        Training batches with soft targets come as a ``SoftBatch``.

        On the device, as a rule; but the batch's first row is read before: there, it would
        have to wait.
        """
        first_row = int(batch.index.numpy()[0])
        if device.type != UNPROVEN:
            batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        batch, trainer = batch._replace(image=self._seen(batch, first_row)), self._trainer()
        soft = self.soft_targets if trainer.training else None
        seen = soft(batch, trainer.current_epoch) if soft else batch
        return super().transfer_batch_to_device(seen, device, dataloader_idx)

    def _seen(self, batch: Batch, first_row: int) -> Tensor:
        """What the network sees of a batch."""
        trainer = self._trainer()
        images, _, index = batch
        if trainer.training:
            return self.augment.random(images, index, trainer.current_epoch, 0, first_row)
        return self.augment.plain(images)

    def _ranks(self) -> tuple[int, int]:
        """Which of how many processes this is."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _trainer_is_on_gpu(self) -> bool:
        """Not merely that there is one: it may be another's, and full."""
        if self.trainer is None:
            return False
        return self.trainer.strategy.root_device.type == "cuda"

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None, "the loaders and the augmentation belong to a Trainer"
        return self.trainer

    def _loader(
        self, sampler: Sampler[tuple[int, int]] | list[int], drop_last: bool = False
    ) -> DataLoader[Batch]:
        return DataLoader(
            self.pictures,
            batch_size=max(1, self.batch_size // self._ranks()[1]),
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            pin_memory=self._trainer_is_on_gpu(),
            persistent_workers=self.num_workers > 0,
            multiprocessing_context=start_method() if self.num_workers else None,
        )
