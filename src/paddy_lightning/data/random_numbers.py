"""Random numbers as a pure function of what they are for.

A hash of (seed, epoch, index, view) gives every picture its own numbers. Neither the batch it
arrives in, nor the number of workers, nor the rank, nor a resume can change them.
"""

import torch
from torch import Tensor

# splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014),
# as signed 64-bit integers: torch multiplies and adds modulo 2**64.
GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - 2**64
MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
MIX_2 = 0x94D049BB133111EB - 2**64
ALL_BITS = 2**64 - 1


def uniform(seed: int, epoch: int, index: Tensor, view: int, count: int) -> Tensor:
    """Uniform numbers in [0, 1), one row a picture.

    Args:
        seed: Of the run, any 64-bit integer.
        epoch: Counted from 0.
        index: int64 [B], the row of each picture in its table.
        view: Which of several augmentations of the same picture, from 0.
        count: How many numbers each picture needs.

    Returns:
        float32 [B, count] on the device of ``index``; the same on every device.
    """
    key = torch.full_like(index, seed)
    for part in (epoch, index, view):
        key = _mix(key + GOLDEN_GAMMA) + part
    steps = torch.arange(1, count + 1, device=index.device) * GOLDEN_GAMMA
    bits = _mix(_mix(key)[:, None] + steps)
    return _shift_right(bits, 40).float() / 2**24  # 24 bits: what a float32 holds exactly


def uniform_of_one(seed: int, epoch: int, index: int, view: int, count: int) -> list[float]:
    """The same numbers for one picture, in Python's integers: a tensor costs more than the hash."""
    key = seed
    for part in (epoch, index, view):
        key = _mix_one(key + GOLDEN_GAMMA) + part
    key = _mix_one(key)
    steps = range(1, count + 1)
    return [(_mix_one(key + step * GOLDEN_GAMMA) >> 40) / 2**24 for step in steps]


def _mix_one(x: int) -> int:
    """``_mix`` of any integer, modulo 2**64; from 0 on, so that ``>>`` has no sign to carry."""
    x &= ALL_BITS
    x = (x ^ (x >> 30)) * MIX_1 & ALL_BITS
    x = (x ^ (x >> 27)) * MIX_2 & ALL_BITS
    return x ^ (x >> 31)


def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64: every input bit changes every output bit half the time."""
    x = (x ^ _shift_right(x, 30)) * MIX_1
    x = (x ^ _shift_right(x, 27)) * MIX_2
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift without the sign, which torch's ``>>`` would carry along."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
