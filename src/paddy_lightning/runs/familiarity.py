"""How far a picture lies from those that validated a network: whether it is of their kind at all.

A network gives its classes to whatever it is shown, a face or a cloud as well, and may be sure of
it. docs/familiarity.md has what tells such pictures apart, and what does not.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

NEIGHBOUR = 3  # whose distance counts, as one picture may have a twin
FALSE_ALARMS = 0.05  # of pictures like those that validated
AT_MOST = 500  # pictures that are remembered
AT_LEAST = math.ceil(1 / FALSE_ALARMS - 1)  # of fewer, no distance is so rare
FLATTEST = 0.01  # of the mean deviation: what a trait that hardly varies is divided by


class Familiarity(NamedTuple):
    """What is remembered of the pictures that validated a network.

    Attributes:
        traits: float32 [N, width], a row a picture, standardised.
        mean: float32 [width], of the traits before.
        std: Likewise.
        limit: The distance that a share of ``FALSE_ALARMS`` of such pictures exceeds.
    """

    traits: Tensor
    mean: Tensor
    std: Tensor
    limit: float


def familiarity_of(checkpoint: dict[str, Any]) -> Familiarity | None:
    """What its training has remembered; None where it did not, or of too few pictures."""
    found = checkpoint.get("familiarity")
    return Familiarity(**found) if found else None


def remember(traits: Tensor) -> Familiarity | None:
    """Traits of pictures that a network did not train on -> what is known of their kind.

    Each is compared with all the others, which makes the limit a conformal one: a further picture
    of their kind exceeds it about as often as ``FALSE_ALARMS``.

    Args:
        traits: float32 [N, width].

    Returns:
        None of fewer than ``AT_LEAST`` pictures, or where traits are not finite.
    """
    if len(traits) < AT_LEAST or not traits.isfinite().all():
        return None
    mean, std = traits.mean(0), traits.std(0)
    std = std.clamp_min(max(float(std.mean()) * FLATTEST, torch.finfo(std.dtype).eps))
    standard = (traits - mean) / std
    between = _distances(standard, standard).fill_diagonal_(torch.inf)
    distances = between.kthvalue(NEIGHBOUR, dim=1).values
    rank = math.ceil((1 - FALSE_ALARMS) * (len(traits) + 1) - 1e-9)
    return Familiarity(standard, mean, std, float(distances.sort().values[rank - 1]))


def unfamiliarity(familiarity: Familiarity, traits: Tensor) -> Tensor:
    """How far pictures lie from those that are remembered, as a multiple of the limit.

    By the distance of the third nearest (Sun et al., Out-of-distribution detection with deep
    nearest neighbors, 2022).

    Args:
        familiarity: Of the same network.
        traits: float32 [B, width].

    Returns:
        float32 [B], at least 0; above 1 a picture is unfamiliar; NaN where traits are.
    """
    known, mean, std, limit = familiarity
    distances = _distances((traits - mean) / std, known).kthvalue(NEIGHBOUR, dim=1).values
    return distances / max(limit, torch.finfo(torch.float32).eps)


def _distances(ones: Tensor, others: Tensor) -> Tensor:
    """Euclidean, not by products of matrices, which lose the digits of small ones."""
    return torch.cdist(ones, others, compute_mode="donot_use_mm_for_euclid_dist")
