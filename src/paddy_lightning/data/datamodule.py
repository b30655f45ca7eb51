"""A table of pictures -> batches: uint8 from the workers, augmented once on the device."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from paddy_lightning.choices import Resize
from paddy_lightning.data.augment import Augment
from paddy_lightning.data.pixels import Kept
from paddy_lightning.data.presize import CENTRE, Presize, cut, open_whole
from paddy_lightning.data.random_numbers import uniform_of_one
from paddy_lightning.data.workers import num_cores, start_method
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
UNPROVEN = "mps"  # Apple's GPUs: what they make of the augmentation was never looked at
CROP_VIEW = 1000  # a view of its own, far from those of test-time augmentation
UNREAD = -2  # in place of a label, in prediction: the file could not be read, its picture is black


class Batch(NamedTuple):
    """What travels from the workers to the network.

    Attributes:
        image: uint8 [B, H, W, 3] from the workers; float32 [B, 3, height, width] once augmented,
            or [B, views, 3, height, width] with test-time augmentation, the plain view last.
        label: int64 [B], -1 where unknown, -2 where the file could not be read.
        index: int64 [B], the row of each picture in its table.
    """

    image: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no batch is asked for


class Pictures(Dataset[Batch]):
    """Presized pictures by their row in a table.

    Args:
        root: The folder that ``files`` are relative to.
        files: Of all rows of the table.
        labels: int64, of all rows; -1 where unknown.
        presize: How to open a file.
        kept: Those that are presized already.
        seed: Of the run, for the offset of training crops.
        pass_unread: Whether a file that cannot be read is handed on as such, and not an error.
    """

    def __init__(
        self,
        root: Path,
        files: pd.Series,
        labels: np.ndarray,
        presize: Presize,
        kept: Kept | None = None,
        seed: int = 42,
        pass_unread: bool = False,
    ) -> None:
        self.root = str(root)
        # One array each: a list of strings would be copied page by page into every forked worker.
        self.files = np.array([os.fsencode(file) for file in files])
        self.labels = torch.from_numpy(labels)
        self.presize = presize
        self.kept = kept
        self.seed = seed
        self.pass_unread = pass_unread

    def __len__(self) -> int:
        """How many rows the table has."""
        return len(self.files)

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        """One picture, not yet batched.

        Args:
            key: A row, or in training ``(row, epoch)``: the epoch gives a crop its offset.

        Raises:
            UserError: The file cannot be read as a picture.
        """
        row, epoch = key if isinstance(key, tuple) else (key, None)
        index, place = torch.tensor(row), CENTRE
        if epoch is not None and self.presize.resize is Resize.crop:  # only crops have any choice
            down, right = uniform_of_one(self.seed, epoch, row, CROP_VIEW, 2)
            place = (down, right)
        try:
            picture = cut(self._whole(row), self.presize.size, place)
        except UserError:
            if not self.pass_unread:
                raise
            black = torch.zeros((*self.presize.size, 3), dtype=torch.uint8)
            return Batch(black, torch.tensor(UNREAD), index)
        return Batch(torch.from_numpy(picture), self.labels[row], index)

    def __getitems__(self, keys: list[Any]) -> list[Batch]:
        """Several pictures: of a worker one after the other, else in a thread a core."""
        if get_worker_info() is not None:
            return [self[key] for key in keys]
        with ThreadPoolExecutor(num_cores()) as pool:
            return list(pool.map(self.__getitem__, keys))

    def decoded_anew(self) -> list[int]:
        """The rows that are not presized already."""
        return [row for row in range(len(self)) if not (self.kept and self.kept.has(row))]

    def _whole(self, row: int) -> np.ndarray:
        if self.kept and (picture := self.kept.read(row)) is not None:
            return picture
        return open_whole(Path(self.root, os.fsdecode(self.files[row])), self.presize)


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
        pass_unread: Whether files that cannot be read are handed on as such, and not an error.
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
        pass_unread: bool = False,
    ) -> None:
        super().__init__()
        codes = pd.Categorical(table.get("label", pd.Series(index=table.index)), class_names).codes
        labels = codes.astype(np.int64)
        self.pictures = Pictures(root, table["file"], labels, presize, kept, seed, pass_unread)
        is_valid = table.get("is_valid", pd.Series(True, index=table.index)).to_numpy()
        self.train_rows, self.valid_rows = np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
        self.augment = augment
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.tta = tta
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
        return self._loader(
            self._sampler, drop_last=len(rows) >= self.batch_size, keep_workers=True
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation rows, in the table's order; of several ranks, each has its share."""
        rank, world_size = self._ranks()
        ours = self.valid_rows[rank::world_size]
        return self._loader(ours.tolist(), keep_workers=True)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The validation rows, which are all rows of a table without a split."""
        return self._loader(self.valid_rows.tolist())

    def state_dict(self) -> dict[str, int]:
        """The epoch after this one: checkpoints are written at the end of an epoch."""
        return {"epoch": self._sampler.epoch + 1 if self._sampler else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        self._first_epoch = state_dict["epoch"]

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Augment in training, only resize otherwise; several views when predicting with TTA.

        On the device, as a rule; but the batch's first row is read before: there, it would
        have to wait.
        """
        first_row = int(batch.index.numpy()[0])
        if device.type != UNPROVEN:
            batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        batch = batch._replace(image=self._seen(batch, first_row))
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _seen(self, batch: Batch, first_row: int) -> Tensor:
        """What the network sees of a batch."""
        trainer = self._trainer()
        images, _, index = batch
        if trainer.training:
            return self.augment.random(images, index, trainer.current_epoch, 0, first_row)
        plain = self.augment.plain(images)
        if not (trainer.predicting and self.tta):
            return plain
        views = [
            self.augment.random(images, index, 0, view, first_row)
            for view in range(1, self.tta + 1)
        ]
        return torch.stack([*views, plain], dim=1)

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
        self,
        sampler: Sampler[tuple[int, int]] | list[int],
        drop_last: bool = False,
        keep_workers: bool = False,
    ) -> DataLoader[Batch]:
        return DataLoader(
            self.pictures,
            batch_size=max(1, self.batch_size // self._ranks()[1]),
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            pin_memory=self._trainer_is_on_gpu(),
            persistent_workers=keep_workers and self.num_workers > 0,
            multiprocessing_context=start_method() if self.num_workers else None,
        )
