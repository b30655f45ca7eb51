"""Pictures sampled once, by a matrix each, onto the grid that the network sees."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

CPU_AT_ONCE = 4  # pictures that stay in a processor's cache from byte to result
UNBLURRED = 0.75  # share of the area from which on a crop is as sharp as the whole picture


def warp(images: Tensor, matrices: Tensor, size: tuple[int, int], min_scale: float = 1.0) -> Tensor:
    """Sample every picture once, bilinearly, onto the output grid; reflect outside of it.

    Shrinking by 2 or more averages whole blocks of pixels first, or it would alias. Of small crops
    that would make a blur: there, blocks are smaller, and the output is sampled more finely and
    then averaged.

    Args:
        images: uint8 or float [B, H, W, 3].
        matrices: float32 [B, 3, 3], output point -> input point, both in [-1, 1].
        size: ``(height, width)`` of the output.
        min_scale: The smallest share of the area that a matrix may show.

    Returns:
        float32 [B, 3, height, width] in the unit of the input.
    """
    some = CPU_AT_ONCE if images.device.type == "cpu" else len(images)
    pieces = zip(images.split(some), matrices.split(some), strict=True)
    return torch.cat([_warp(*piece, size, min_scale) for piece in pieces])


def _warp(images: Tensor, matrices: Tensor, size: tuple[int, int], min_scale: float) -> Tensor:
    (in_height, in_width), (out_height, out_width) = images.shape[1:3], size
    block_y, finer_y = _block(in_height, out_height, min_scale)
    block_x, finer_x = _block(in_width, out_width, min_scale)
    pictures = _shrink(images.permute(0, 3, 1, 2), (block_y, block_x))
    # The last row or column of blocks may reach over the edge: the shrunk picture then spans more.
    span_y = in_height / (block_y * pictures.shape[2])
    span_x = in_width / (block_x * pictures.shape[3])
    y = _pixel_centres(out_height * finer_y, matrices)[:, None]
    x = _pixel_centres(out_width * finer_x, matrices)
    m = matrices[:, :, :, None, None]
    depth = m[:, 2, 0] * x + (m[:, 2, 1] * y + m[:, 2, 2])
    in_x = (m[:, 0, 0] * x + (m[:, 0, 1] * y + m[:, 0, 2])) / depth
    in_y = (m[:, 1, 0] * x + (m[:, 1, 1] * y + m[:, 1, 2])) / depth
    grid = torch.stack([(in_x + 1) * span_x - 1, (in_y + 1) * span_y - 1], dim=-1)
    seen = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    return _shrink(seen, (finer_y, finer_x))


def _block(source: int, size: int, min_scale: float) -> tuple[int, int]:
    """Of one side: how many pixels are averaged to one, and then how many samples.

    The smallest crop sets the block, so that it is not blurred; samples less than two blocks
    apart leave nothing out of the largest.
    """
    closer = min(1.0, math.sqrt(min_scale / UNBLURRED))
    block = max(1, int(source * closer / size))
    return block, max(1, math.ceil(source / (2 * block * size)))


def _shrink(pictures: Tensor, block: tuple[int, int]) -> Tensor:
    """[b, 3, H, W] -> float32 [b, 3, H / block, W / block], averaged."""
    if block == (1, 1):
        return pictures.float()
    whole = pictures.shape[2] % block[0] == 0 and pictures.shape[3] % block[1] == 0
    if whole and pictures.dtype == torch.uint8 and pictures.device.type == "cpu":
        return _sums(pictures, block).float() / math.prod(block)
    return F.avg_pool2d(pictures.float(), block, ceil_mode=True)


def _sums(pictures: Tensor, block: tuple[int, int]) -> Tensor:
    """Of each block's bytes: the same as by ``avg_pool2d``, in a third of its time.

    Args:
        pictures: uint8 [b, 3, H, W], whose channels lie together.
        block: ``(height, width)``, by which H and W can be divided.
    """
    dtype = torch.int16 if 255 * math.prod(block) < 2**15 else torch.int32
    rows = pictures.permute(0, 2, 3, 1).unflatten(1, (-1, block[0])).unbind(2)
    sums = rows[0].to(dtype)
    for row in rows[1:]:
        sums += row
    columns = sums.unflatten(2, (-1, block[1])).unbind(3)
    return sum(columns[1:], start=columns[0]).permute(0, 3, 1, 2)


def _pixel_centres(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2 + 1) / count - 1
