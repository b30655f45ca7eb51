"""Pictures of pictures."""

import torch
from torch import Tensor
from torchvision.utils import make_grid


def mosaic(pictures: Tensor, mean: list[float], std: list[float], columns: int = 8) -> Tensor:
    """A sheet of what the network sees.

    Args:
        pictures: float32 [B, 3, height, width], normalised.
        mean: As in the normalisation, one number a channel.
        std: Likewise.
        columns: Pictures a row.

    Returns:
        uint8 [3, H, W].
    """
    channels = (1, 3, 1, 1)
    shown = pictures.detach().float().cpu() * torch.tensor(std).view(channels)
    shown = (shown + torch.tensor(mean).view(channels)).clamp(0, 1)
    return (make_grid(shown, nrow=columns) * 255).round().to(torch.uint8)
