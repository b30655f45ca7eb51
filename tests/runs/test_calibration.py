"""One temperature, and sets that hold the truth as often as was asked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from paddy_lightning.errors import UserError
from paddy_lightning.runs.calibration import Calibration, calibrate, candidates, tempered


def drawn(count: int, seed: int, sharper: float = 1.0) -> tuple[Tensor, Tensor]:
    """Probabilities that are honest, or made sharper than that; and classes drawn by them."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 4, generator=generator)
    truth = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return (sharper * logits).softmax(1), truth


@pytest.mark.parametrize("sharper", [0.25, 1.0, 3.0])
def test_it_finds_how_much_too_sure_a_network_is(sharper: float) -> None:
    probabilities, truth = drawn(20_000, 0, sharper)
    assert calibrate(probabilities, truth).temperature == pytest.approx(sharper, rel=0.05)


@given(st.integers(1, 40), st.integers(0, 1000), st.floats(0.1, 20))
def test_labels_stay_and_rows_sum_to_one(count: int, seed: int, sharper: float) -> None:
    probabilities, truth = drawn(count, seed, sharper)
    temperature, true_shares = calibrate(probabilities, truth)
    found = tempered(probabilities, temperature)
    assert (found.sum(1) - 1).abs().max() < 1e-5
    assert found.gather(1, probabilities.argmax(1, keepdim=True)).eq(found.amax(1)[:, None]).all()
    assert true_shares.shape == (count,) and (true_shares.diff() >= 0).all()


def test_one_that_makes_no_mistake_is_not_told_to_be_sure_of_everything() -> None:
    truth = torch.arange(30) % 3
    right = (4 * torch.eye(3)[truth]).softmax(1)
    sure = tempered(right, calibrate(right, truth).temperature).amax(1)
    assert 0.95 < sure.min() < 0.999
    wrong = calibrate(right, (truth + 1) % 3)
    assert tempered(right, wrong.temperature).amax() < 0.5


def test_a_temperature_of_one_changes_nothing_and_nan_stays() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [torch.nan] * 3])
    assert torch.allclose(tempered(probabilities, 1), probabilities, equal_nan=True)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_truth_as_often_as_was_asked(coverage: float) -> None:
    """Over pictures alike, on average: here 200 draws of a hundred that calibrate."""
    held = []
    for seed in range(200):
        probabilities, truth = drawn(400, seed, 2)
        calibration = calibrate(probabilities[:100], truth[:100])
        sets = candidates(
            tempered(probabilities[100:], calibration.temperature), calibration, coverage
        )
        held.append(sets.gather(1, truth[100:, None]).float().mean())
    assert coverage - 0.01 < torch.stack(held).mean() < coverage + 0.03


def test_the_likeliest_is_always_a_candidate() -> None:
    calibration = Calibration(1, torch.full((99,), 0.9))
    sets = candidates(torch.tensor([[0.6, 0.4], [0.95, 0.05]]), calibration, 0.9)
    assert sets.tolist() == [[True, False], [True, False]]


def test_too_few_pictures_promise_nothing() -> None:
    """At least 1 / (1 - coverage) - 1, by the rank that is asked for."""
    probabilities, truth = drawn(19, 0)
    calibration = calibrate(probabilities, truth)
    assert candidates(probabilities, calibration, 0.95).any()
    with pytest.raises(UserError, match=r"coverage=0\.96: needs 24 validation pictures or more"):
        candidates(probabilities, calibration, 0.96)
