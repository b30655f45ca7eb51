"""A batch of 64 from presized pictures to what the network sees."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import torch

from benchmarks import kornia_side
from benchmarks.machine import DEVICE, has_fastai
from benchmarks.paired import Other, Pair, in_turn
from paddy_lightning.data.augment import Augment

Size = tuple[int, int]
SETTINGS = (
    ((480, 480), (128, 128), 7.0),
    ((192, 192), (128, 128), 3.5),
    ((480, 360), (256, 192), 5.0),
)


def augmentation(
    settings: Iterable[tuple[Size, Size, float | None]] = SETTINGS, rounds: int = 8
) -> Iterator[Pair]:
    """Against Kornia, and against fastai where it is installed.

    Args:
        settings: ``presize``, ``size``, and how many times faster than fastai is aimed at.
        rounds: Of each.
    """
    for presize, size, target in settings:
        noise = np.random.default_rng(0).integers(0, 256, (64, *presize, 3), np.uint8)
        images, index = torch.from_numpy(noise).to(DEVICE), torch.arange(64, device=DEVICE)
        ours = partial(Augment(size, kornia_side.MEAN, kornia_side.STD).random, images, index, 0)
        what = f"augmentation of 64, {presize[0]}x{presize[1]} to {size[0]}x{size[1]}"
        others = [
            Other(f"{what} (Kornia)", kornia_side.augmentation(images, size, True), 1.0),
            Other(f"{what} (Kornia, crop last)", kornia_side.augmentation(images, size, False)),
        ]
        if has_fastai():
            from benchmarks import fastai_side  # slow to import

            theirs = fastai_side.augmentation(images, size)
            others.insert(0, Other(f"{what} (fastai)", theirs, target))
        yield from in_turn(ours, others, rounds)
