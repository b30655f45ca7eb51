"""A GPU sees the pictures that a CPU sees."""

import numpy as np
import pytest
import torch

from paddy_lightning.data.augment import Augment
from paddy_lightning.data.random_numbers import uniform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_LEVEL = 1 / 255 / min(STD)  # of a byte, as the network sees it


@pytest.mark.parametrize("seed", [0, 42, 2**63 - 1])
def test_random_numbers_are_equal_bit_for_bit(device: str, seed: int) -> None:
    index = torch.tensor([0, 1, 7, 10**6, 2**40])
    here = uniform(seed, 3, index, 2, 37)
    there = uniform(seed, 3, index.to(device), 2, 37)
    assert there.device.type == device and torch.equal(there.cpu(), here)


@pytest.mark.parametrize("presize, size", [((480, 360), (256, 192)), ((96, 120), (64, 64))])
def test_a_picture_is_augmented_alike(
    device: str, presize: tuple[int, int], size: tuple[int, int]
) -> None:
    """By its seed, epoch and row; but for what rounding leaves of a grey level."""
    noise = np.random.default_rng(0).integers(0, 256, (8, *presize, 3), np.uint8)
    images, index = torch.from_numpy(noise), torch.arange(8) * 1000
    augment = Augment(size, MEAN, STD, seed=5, min_scale=0.35)
    here = [augment.plain(images), *(augment.random(images, index, 3, view) for view in (0, 2))]
    images, index = images.to(device), index.to(device)
    there = [augment.plain(images), *(augment.random(images, index, 3, view) for view in (0, 2))]
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.device.type == device and theirs.shape == (8, 3, *size)
        difference = (theirs.cpu() - ours).abs()
        assert difference.max() < GREY_LEVEL and difference.mean() < GREY_LEVEL / 20
