"""What counted pictures can tell, against published examples."""

import math

import pandas as pd
import pytest
from small import predictions

from paddy_lightning.runs.evidence import (
    difference_interval,
    error_interval,
    holm,
    mcnemar,
    paired,
    paired_repeats,
)


def test_the_paired_test_against_a_published_example() -> None:
    """Agresti, Categorical Data Analysis, table 11.1: 150 and 86 of 1,600 disagree; and by hand:
    of six pictures, one run alone gets all right, p = 2 / 2**6."""
    first = predictions((794, True), (150, True), (86, False), (570, False))
    second = predictions((794, True), (150, False), (86, True), (570, False))
    only_first, only_second, p = paired(first, second)
    assert (only_first, only_second) == (150, 86)
    assert p == pytest.approx(3.7e-5, rel=0.02)
    assert paired(predictions((6, True)), predictions((6, False))) == (6, 0, 2 / 2**6)
    assert paired(first, first) == (0, 0, 1.0)
    assert mcnemar(0, 0) == 1


def test_an_interval_against_a_published_one() -> None:
    """Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I."""
    for wrong, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert error_interval(wrong, total) == pytest.approx((low, high), abs=5e-5)


def test_an_interval_of_a_paired_difference() -> None:
    """By hand: half a picture more in each of the four cells, then Wald's interval."""
    low, high = difference_interval(9, 1, 28)
    deviation = math.sqrt(9.5 + 1.5 - 8**2 / 30) / 30
    assert (low, high) == pytest.approx(
        (8 / 30 - 1.96 * deviation, 8 / 30 + 1.96 * deviation), rel=1e-3
    )
    assert difference_interval(1, 9, 28) == pytest.approx((-high, -low))
    assert difference_interval(0, 0, 78)[1] > 0.02  # nothing seen is no proof with few pictures
    assert difference_interval(0, 0, 2000)[1] < 0.001


def test_a_correction_for_many_tests() -> None:
    """By hand: the smallest by four, the next by three, and so on, none below one before it."""
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([0.03]) == [0.03] and holm([]) == []


def test_repeats_of_one_run_each_are_pairs_of_pictures() -> None:
    """With one run each, flipped signs are coins: the binomial test, but for the draws."""
    first = predictions((30, True), (12, False), (3, True))
    second = predictions((30, True), (12, True), (3, False))
    more, count, p = paired_repeats(first, second)
    assert more == pytest.approx(9 / 45) and count == 45
    assert p == pytest.approx(mcnemar(3, 12), abs=0.01)
    again, pictures, same = paired_repeats(pd.concat([first, first]), pd.concat([second, second]))
    assert again == more and pictures == count and same == pytest.approx(p, abs=0.01)
    assert paired_repeats(first, first) == (0.0, 45, 1.0)
