"""A GPU sees the pictures that a CPU sees."""

import numpy as np
import pytest
import torch

from paddy_lightning.data.augment import Augment
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.random_numbers import uniform
from paddy_lightning.data.soft_targets import SoftTargets

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


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_pictures_are_mixed_alike(device: str, mixup: float, cutmix: float) -> None:
    """But for the rounding of a blend; a box has the same pixels."""
    generator = torch.Generator().manual_seed(0)
    image, soft = (torch.rand(*shape, generator=generator) for shape in ((9, 3, 24, 32), (9, 4)))
    batch = Batch(image, torch.arange(9) % 4, torch.arange(9))
    here = SoftTargets(4, mixup, cutmix, soft.softmax(1))(batch, 3)
    batch = Batch(*(tensor.to(device) for tensor in batch))
    there = SoftTargets(4, mixup, cutmix, soft.softmax(1))(batch, 3)
    assert there.image.device.type == there.target.device.type == device
    torch.testing.assert_close(there.image.cpu(), here.image, rtol=0, atol=1e-6)
    torch.testing.assert_close(there.target.cpu(), here.target, rtol=0, atol=1e-6)
