"""What counted pictures can tell: intervals of error rates, and tests of pictures in pairs."""

import math

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
