"""How sure a network may be: one temperature, and sets of classes that hold the true one."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from paddy_lightning.errors import UserError

SMALLEST = 1e-38  # whose logarithm is taken for that of 0
COLDEST, HOTTEST = 0.05, 20.0  # temperatures


class Calibration(NamedTuple):
    """What pictures that a network did not train on say of its confidence.

    Attributes:
        temperature: By which its logits are divided; above 1 it was too sure.
        true_shares: float32 [N], ascending: how probable it then called each picture's class.
    """

    temperature: float
    true_shares: Tensor


def calibrate(probabilities: Tensor, truth: Tensor) -> Calibration:
    """Fit one temperature, which changes no label (Guo et al., 2017).

    By the lowest loss, with Platt's targets (1999), as if one more picture had spoken for every
    class alike: else a network that is right of all pictures would be told to be quite sure.

    Args:
        probabilities: float [N, num_classes], of pictures that did not train.
        truth: int64 [N], their classes.
    """
    logits = probabilities.double().clamp_min(SMALLEST).log()
    count, num_classes = logits.shape
    targets = (count * F.one_hot(truth, num_classes) + 1 / num_classes) / (count + 1)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits / log_temperature.exp(), targets)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    temperature = min(max(math.exp(log_temperature.item()), COLDEST), HOTTEST)
    shares = tempered(probabilities, temperature).gather(1, truth[:, None])[:, 0]
    return Calibration(temperature, shares.sort().values)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """What they are when logits are divided by it: float32 [N, num_classes]; NaN stays NaN."""
    logits = probabilities.double().clamp_min(SMALLEST).log()
    return (logits / temperature).softmax(1).float()


def candidates(probabilities: Tensor, calibration: Calibration, coverage: float) -> Tensor:
    """Sets of classes, of which at least this share holds the true one, over pictures alike.

    Split conformal prediction: every class as probable as the true one was on all but so few of
    the pictures that calibrate (Sadinle, Lei and Wasserman, 2019); and the likeliest always.

    Args:
        probabilities: float32 [N, num_classes], calibrated.
        calibration: Of the same network and views.
        coverage: In (0, 1).

    Returns:
        bool [N, num_classes].

    Raises:
        UserError: Fewer pictures than such a promise needs.
    """
    shares, allowed = calibration.true_shares, 1 - coverage
    rank = math.floor(allowed * (len(shares) + 1) + 1e-9)  # of the share that is the bound
    if rank < 1:
        need = math.ceil(1 / allowed - 1 - 1e-9)
        raise UserError(
            f"coverage={coverage:g}: needs {need} validation pictures or more, and there were"
            f" {len(shares)}; ask for less, or validate on more"
        )
    likeliest = F.one_hot(probabilities.argmax(1), probabilities.shape[1]).bool()
    return (probabilities >= shares[rank - 1]) | likeliest
