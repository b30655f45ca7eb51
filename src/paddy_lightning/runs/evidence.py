"""What counted pictures can tell: intervals of error rates, and tests of pictures in pairs."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

CONFIDENCE = 0.95  # of the intervals
LEVEL = 0.05  # a smaller p says that two networks differ
DEVIATIONS = 1.959964  # on either side of the mean of a normal distribution, that hold 95 % of it


def error_interval(wrong: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error rate, honest for few pictures and for rates near 0."""
    from scipy.stats import binomtest

    interval = binomtest(wrong, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[int, int, float]:
    """McNemar's exact test on the pictures of two runs.

    Args:
        first: ``valid_predictions.csv`` of one run.
        second: That of another, on the same pictures.

    Returns:
        How many pictures only the first got right, how many only the second, and ``mcnemar`` of
        the two.
    """
    both = first.merge(second, on="file", suffixes=("_1", "_2"))
    right_1, right_2 = (both[f"label_{n}"] == both[f"predicted_{n}"] for n in (1, 2))
    only_first, only_second = int((right_1 & ~right_2).sum()), int((right_2 & ~right_1).sum())
    return only_first, only_second, mcnemar(only_first, only_second)


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p of so uneven a share if both networks were equally good.

    McNemar, 1947; the exact form is a binomial test of the pictures that one of the two alone
    gets right.
    """
    from scipy.stats import binomtest

    disagreed = only_first + only_second
    return float(binomtest(only_first, disagreed).pvalue) if disagreed else 1.0


def paired_repeats(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, int, float]:
    """A test of two settings that were both repeated, with the same seeds or folds.

    A picture counts once, however often it was predicted: by the share of the runs that got it
    right. The p is that of flipping signs of the pictures' differences, drawn 9,999 times.

    Args:
        first: ``valid_predictions.csv`` of all runs of one setting, one below the other.
        second: Likewise, of the other setting.

    Returns:
        The first's mean error less the second's, the number of pictures, and the two-sided p.
    """
    from scipy.stats import permutation_test

    rights = (
        table.assign(right=table["label"] == table["predicted"]).groupby("file")["right"].mean()
        for table in (first, second)
    )
    less_right: pd.Series = next(rights)
    differences = (next(rights) - less_right).to_numpy(float)
    if not differences.any():
        return 0.0, len(differences), 1.0
    found = permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, rng=0
    )
    return float(differences.mean()), len(differences), float(found.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """The p of each of several tests, corrected for their number.

    Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected, so_far = [0.0] * len(ps), 0.0
    for rank, number in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        so_far = max(so_far, min(1.0, (len(ps) - rank) * ps[number]))
        corrected[number] = so_far
    return corrected


def difference_interval(only_first: int, only_second: int, total: int) -> tuple[float, float]:
    """95 % interval of the second network's error rate less the first's, on ``total`` pictures.

    Wald's, with half a picture added to each of the four counts so that it holds for few pictures,
    too (Agresti and Min, Simple improved confidence intervals for comparing matched proportions,
    2005).
    """
    disagreed, difference = only_first + only_second + 1, only_first - only_second
    margin = DEVIATIONS * math.sqrt(disagreed - difference**2 / (total + 2))
    return (difference - margin) / (total + 2), (difference + margin) / (total + 2)


def chance(p: float) -> str:
    """A p as it is printed."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
