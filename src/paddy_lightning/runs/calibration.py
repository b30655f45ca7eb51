"""How sure a network may be: one temperature, and sets of classes that hold the true one."""

import math
from typing import Any, NamedTuple

import numpy as np

from paddy_lightning.choices import Tta
from paddy_lightning.errors import UserError

SMALLEST = 1e-38  # whose logarithm is taken for that of 0
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried
# What few pictures cannot say by themselves; docs/calibration.md has what was tried.
DEVIATION = math.log(2)  # of the temperature's logarithm, before any picture was seen
DOUBT = 0.25  # of a picture, that spoke for all classes alike


class Calibration(NamedTuple):
    """What pictures that a network did not train on say of its confidence.

    Attributes:
        temperature: By which its logits are divided; above 1 it was too sure.
        true_shares: [N], ascending: how probable it then called each picture's class.
    """

    temperature: float
    true_shares: list[float]


def calibration_of(checkpoint: dict[str, Any], tta: Tta = Tta.off) -> Calibration | None:
    """What its training has found for one way to join views; None where it did not look."""
    found = checkpoint.get("calibration", {}).get(str(tta))
    return Calibration(**found) if found else None


def temperature_of(checkpoint: dict[str, Any], tta: Tta = Tta.off) -> float:
    """By which its logits are to be divided: that of these views, or of the plain one, or 1."""
    found = calibration_of(checkpoint, tta) or calibration_of(checkpoint)
    return found.temperature if found else 1.0


def calibrate(probabilities: np.ndarray, truth: np.ndarray) -> Calibration:
    """Fit one temperature, which changes no label (Guo et al., 2017).

    By the lowest loss, with a prior around 1, and targets short of certain, as Platt's (1999):
    else a network that is right of all pictures would be told to be quite sure.

    Args:
        probabilities: float [N, num_classes], of pictures that did not train.
        truth: int [N], their classes.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = _logits(probabilities)
    count, num_classes = logits.shape
    doubt = DOUBT / (count + DOUBT)
    targets = (1 - doubt) * np.eye(num_classes)[truth] + doubt / num_classes

    def loss(log_temperature: float) -> float:
        shares = log_softmax(logits / math.exp(log_temperature), axis=1)
        return (log_temperature / DEVIATION) ** 2 / 2 - float((targets * shares).sum())

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    temperature = math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)
    shares = tempered(probabilities, temperature)[np.arange(count), truth]
    return Calibration(temperature, sorted(shares.tolist()))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What they are when logits are divided by it: float32 [N, num_classes]; NaN stays NaN."""
    logits = _logits(probabilities) / temperature
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def bound(calibration: Calibration, coverage: float) -> float:
    """How probable a class must be to be a candidate, for the true one to be among them so often.

    Split conformal prediction: all but so few of the pictures that calibrate had their true class
    called as probable (Sadinle, Lei and Wasserman, 2019). It holds for pictures like those, on
    average over which of them calibrate.

    Args:
        calibration: Of the same network and views.
        coverage: In (0, 1).

    Raises:
        UserError: Fewer pictures than such a promise needs.
    """
    shares, allowed = calibration.true_shares, 1 - coverage
    rank = math.floor(allowed * (len(shares) + 1) + 1e-9)
    if rank < 1:
        need = math.ceil(1 / allowed - 1 - 1e-9)
        raise UserError(
            f"coverage={coverage:g}: needs {need} validation pictures or more, and there were"
            f" {len(shares)}; ask for less, or validate on more"
        )
    return shares[rank - 1]


def candidates(probabilities: np.ndarray, least: float) -> np.ndarray:
    """bool [N, num_classes]: as probable as that, and the likeliest always."""
    found: np.ndarray = probabilities >= np.float32(least)
    found[np.arange(len(found)), probabilities.argmax(1)] = True
    return found


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """float64, up to a constant in each row."""
    return np.log(np.maximum(probabilities, SMALLEST, dtype=np.float64))
