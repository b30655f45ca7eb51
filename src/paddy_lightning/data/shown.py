"""Pictures as a network is shown them when it predicts: batches, with every view. No Lightning."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from paddy_lightning.data.augment import Augment
from paddy_lightning.data.pictures import Batch, Pictures
from paddy_lightning.data.workers import start_method

UNPROVEN = "mps"  # Apple's GPUs: what they make of the augmentation was never looked at


class Shown(NamedTuple):
    """Some pictures of a table, in its order, and how they are shown.

    Attributes:
        pictures: Of all rows of the table.
        rows: int64, those that are shown.
        augment: What happens to a batch on the device.
        tta: How many augmented views come before the plain one; 0 for none.
        batch_size: Pictures a step.
        num_workers: Processes that open pictures.
    """

    pictures: Pictures
    rows: np.ndarray
    augment: Augment
    tta: int
    batch_size: int
    num_workers: int

    def loader(self, device: torch.device) -> DataLoader[Batch]:
        """Batches of presized pictures, on the CPU."""
        return DataLoader(
            self.pictures,
            batch_size=self.batch_size,
            sampler=self.rows.tolist(),
            num_workers=self.num_workers,
            pin_memory=device.type == "cuda",
            multiprocessing_context=start_method() if self.num_workers else None,
        )

    def views(self, batch: Batch, device: torch.device) -> Tensor:
        """float32 [B, views, 3, height, width] on the device, the plain view last.

        They are made there, as a rule; but the batch's first row is read before: there, it would
        have to wait.
        """
        images, index, first_row = batch.image, batch.index, int(batch.index.numpy()[0])
        if device.type != UNPROVEN:
            images, index = (
                images.to(device, non_blocking=True),
                index.to(device, non_blocking=True),
            )
        views = [
            self.augment.random(images, index, 0, view, first_row)
            for view in range(1, self.tta + 1)
        ]
        plain = self.augment.plain(images)
        return torch.stack([*views, plain], dim=1).to(device)
