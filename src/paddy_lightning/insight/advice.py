"""How long to train? One line from the epochs of a run, as far as their pictures bear it out."""

import math

import numpy as np
import pandas as pd

from paddy_lightning.runs.evidence import LEVEL, chance, difference_interval, mcnemar

ALIKE = 0.01  # a smaller difference of two error rates is not worth another training
LOSS_ROSE = 1.05  # times the lowest, of a loss that is higher at the end


def advice(epochs: pd.DataFrame, right: dict[int, np.ndarray], freeze_epochs: int) -> str:
    """Compare the last epoch with the best before it, after the frozen ones.

    An error rate has grown or fallen only where the same pictures say so (McNemar's exact test) and
    the loss went the same way. In this order:

    1. fewer than three such epochs: too few to tell;
    2. the last is worse than the best, at a level divided by how many that was the best of:
       retrain from scratch with fewer epochs;
    3. the last is better than the best before the last third: still improving, train longer;
    4. with 95 % confidence the last is within one picture in a hundred of the best before the last
       third: levelled off; and fine where the loss rose by more than 5 %, since the network grows
       too sure of itself, but the error is what counts;
    5. otherwise so few pictures cannot tell.

    Args:
        epochs: A row an epoch: ``epoch`` (from 1), ``error_rate``, ``valid_loss``.
        right: As ``valid_right.read_right`` has it.
        freeze_epochs: How many at the start do not count.
    """
    unfrozen = epochs[epochs["epoch"] > freeze_epochs].dropna(subset="valid_loss")
    if len(unfrozen) < 3:
        return "too few epochs to tell whether longer would help"
    numbers, loss = unfrozen["epoch"].to_numpy(dtype=int), unfrozen["valid_loss"].to_numpy()
    hits = np.stack([right[number] for number in numbers]) if {*numbers} <= {*right} else None
    if hits is None or not (seen := (hits >= 0).all(axis=0)).any():
        return "cannot tell how long to train: it was not kept which pictures each epoch got right"
    hits, last = hits[:, seen] == 1, len(numbers) - 1
    order = np.lexsort((loss, -hits.sum(axis=1)))  # best first; of equals the lower loss
    early = order[order <= last - math.ceil(len(numbers) / 3)][0]  # before the last third

    best = order[0]
    lost, won = _lost_and_won(hits[best], hits[last])
    if lost > won and mcnemar(lost, won) < LEVEL / last and loss[last] > loss[best]:
        few = numbers[best] - freeze_epochs
        return (
            f"the error grew again after {few} unfrozen epochs ({_told(lost, won)}): retrain with"
            f" epochs={few}"
        )
    lost, won = _lost_and_won(hits[early], hits[last])
    since = f"since epoch {numbers[early]}, {_told(lost, won)}"
    if won > lost and mcnemar(lost, won) < LEVEL and loss[last] < loss[early]:
        return f"the error was still falling at the end ({since}): train longer"
    low, high = difference_interval(lost, won, hits.shape[1])
    if low < -ALIKE or high > ALIKE:
        went = f"the loss went from {loss[early]:.3f} to {loss[last]:.3f}"
        return f"cannot tell with {hits.shape[1]} pictures how long to train ({since}; {went})"
    if loss[last] > LOSS_ROSE * loss.min():
        return "the loss rose at the end but the error did not: fine as it is"
    return "the error has levelled off: longer training is unlikely to help"


def _told(lost: int, won: int) -> str:
    return f"{won} pictures won and {lost} lost, {chance(mcnemar(lost, won))}"


def _lost_and_won(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """How many pictures only the earlier epoch got right, and how many only the later."""
    return int((before & ~after).sum()), int((after & ~before).sum())
