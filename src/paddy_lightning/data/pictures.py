"""Presized pictures by their row in a table, as workers open them.

Without Lightning: a worker that is not forked imports this file anew, in a third of the time.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from paddy_lightning.choices import Resize
from paddy_lightning.data.pixels import Kept
from paddy_lightning.data.presize import CENTRE, Presize, cut, open_whole
from paddy_lightning.data.random_numbers import uniform_of_one
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import UserError

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
