"""The same augmentation as Kornia's modules do it, one after the other."""

from typing import Any

import kornia.augmentation as K  # noqa: N812
import torch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def augmentation(images: torch.Tensor, size: tuple[int, int], crop_first: bool) -> Any:
    """A function that augments uint8 [B, H, W, 3] with the ranges of ``aug_transforms``.

    Args:
        images: The batch.
        size: ``(height, width)`` of what comes out.
        crop_first: Whether the crop to ``size`` comes before what is done to every pixel, as is
            fast, or after it, which loses less at the borders.
    """
    crop = K.RandomResizedCrop(size, scale=(0.75, 1.0), ratio=(3 / 4, 4 / 3))
    others = [
        K.RandomHorizontalFlip(p=0.5),
        K.RandomRotation(10.0, p=0.75),
        K.RandomAffine(0.0, scale=(1.0, 1.1), p=0.75),
        K.RandomPerspective(0.2, p=0.75),
    ]
    steps = K.ImageSequential(
        *([crop, *others] if crop_first else [*others, crop]),
        K.ColorJiggle(brightness=0.2, contrast=0.2, p=0.75),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    batch = images.permute(0, 3, 1, 2).contiguous()
    return lambda: steps(batch.float() / 255)
