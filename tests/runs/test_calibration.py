"""One temperature, and sets that hold the truth as often as was asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from paddy_lightning.errors import UserError
from paddy_lightning.runs.calibration import Calibration, bound, calibrate, candidates, tempered


def drawn(count: int, seed: int, sharper: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are honest, or made sharper than that; and classes drawn by them."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(count, 4))
    truth = (softmax(logits, 1).cumsum(1) < generator.random((count, 1))).sum(1).clip(max=3)
    return softmax(sharper * logits, 1).astype(np.float32), truth


@pytest.mark.parametrize("sharper", [0.25, 1.0, 3.0])
def test_it_finds_how_much_too_sure_a_network_is(sharper: float) -> None:
    probabilities, truth = drawn(20_000, 0, sharper)
    assert calibrate(probabilities, truth).temperature == pytest.approx(sharper, rel=0.05)


@given(st.integers(1, 40), st.integers(0, 1000), st.floats(0.1, 20))
def test_labels_stay_and_rows_sum_to_one(count: int, seed: int, sharper: float) -> None:
    probabilities, truth = drawn(count, seed, sharper)
    temperature, true_shares = calibrate(probabilities, truth)
    found = tempered(probabilities, temperature)
    assert np.abs(found.sum(1) - 1).max() < 1e-5
    assert (found[np.arange(count), probabilities.argmax(1)] == found.max(1)).all()
    assert len(true_shares) == count and true_shares == sorted(true_shares)


def test_one_that_makes_no_mistake_is_not_told_to_be_sure_of_everything() -> None:
    truth = np.arange(30) % 3
    right = softmax(4 * np.eye(3)[truth], 1)
    sure = tempered(right, calibrate(right, truth).temperature).max(1)
    assert 0.95 < sure.min() < 0.999
    wrong = calibrate(right, (truth + 1) % 3)
    assert tempered(right, wrong.temperature).max() < 0.5


def test_a_temperature_of_one_changes_nothing_and_nan_stays() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [np.nan] * 3], np.float32)
    assert np.allclose(tempered(probabilities, 1), probabilities, equal_nan=True)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_truth_as_often_as_was_asked(coverage: float) -> None:
    """Over pictures alike, on average: here 200 draws of a hundred that calibrate."""
    held = []
    for seed in range(200):
        probabilities, truth = drawn(400, seed, 2)
        calibration = calibrate(probabilities[:100], truth[:100])
        others = tempered(probabilities[100:], calibration.temperature)
        sets = candidates(others, bound(calibration, coverage))
        held.append(sets[np.arange(300), truth[100:]].mean())
    assert coverage - 0.01 < np.mean(held) < coverage + 0.03


def test_the_likeliest_is_always_a_candidate() -> None:
    least = bound(Calibration(1, [0.9] * 99), 0.9)
    sets = candidates(np.array([[0.6, 0.4], [0.95, 0.05]], np.float32), least)
    assert sets.tolist() == [[True, False], [True, False]]


def test_too_few_pictures_promise_nothing() -> None:
    """At least 1 / (1 - coverage) - 1, by the rank that is asked for."""
    probabilities, truth = drawn(19, 0)
    calibration = calibrate(probabilities, truth)
    assert bound(calibration, 0.95) == calibration.true_shares[0]
    with pytest.raises(UserError, match=r"coverage=0\.96: needs 24 validation pictures or more"):
        bound(calibration, 0.96)
