"""What is remembered of validation pictures, and how far others lie from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paddy_lightning.runs.familiarity import AT_LEAST, FALSE_ALARMS, remember, unfamiliarity

WIDTH = 12


def clouds(count: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    """Traits of pictures of one kind: three lumps, of units a million apart."""
    numbers = torch.Generator().manual_seed(seed)
    lumps = torch.randint(3, (count, 1), generator=numbers) * 4.0
    units = torch.logspace(-3, 3, WIDTH)
    return (lumps + spread * torch.randn(count, WIDTH, generator=numbers)) * units


@pytest.mark.parametrize("count", [AT_LEAST, 40, 200])
def test_of_its_own_kind_one_in_twenty_is_taken_for_strange(count: int) -> None:
    shares = []
    for seed in range(40):
        known = remember(clouds(count, seed))
        assert known
        shares.append(float((unfamiliarity(known, clouds(400, 1000 + seed)) > 1).float().mean()))
    assert FALSE_ALARMS / 2 < np.mean(shares) < FALSE_ALARMS * 1.6


def test_others_are_farther_the_stranger_they_are() -> None:
    known = remember(clouds(60, 0))
    assert known
    far = [float(unfamiliarity(known, clouds(50, 1, spread)).median()) for spread in (1, 3, 10)]
    assert far[0] < 1 < far[1] < far[2]


@given(st.integers(0, 2**20), st.integers(0, WIDTH - 1), st.floats(1e-3, 1e3))
def test_units_do_not_matter(seed: int, column: int, factor: float) -> None:
    units = torch.ones(WIDTH)
    units[column] = factor
    traits, asked = (clouds(30, s) / torch.logspace(-3, 3, WIDTH) for s in (seed, seed + 1))
    one, other = remember(traits), remember(traits * units)
    assert one and other
    tolerance = 2e-2 if factor < 0.02 else 1e-3  # what hardly varies is not blown up
    before, after = unfamiliarity(one, asked), unfamiliarity(other, asked * units)
    assert factor < 0.02 or torch.allclose(before, after, rtol=tolerance)


def test_a_trait_that_never_varied_is_not_all_that_counts() -> None:
    traits = clouds(30, 0)
    traits[:, 0] = 0.5
    known = remember(traits)
    assert known
    asked = clouds(30, 1)
    asked[:, 0] = 0.5
    assert (unfamiliarity(known, asked) > 1).float().mean() < 0.5


def test_too_few_or_lost_ones_are_not_remembered() -> None:
    assert remember(clouds(AT_LEAST - 1, 0)) is None
    lost = clouds(30, 0)
    lost[3, 2] = torch.nan
    assert remember(lost) is None


def test_pictures_that_are_all_the_same_have_a_limit() -> None:
    known = remember(torch.ones(30, WIDTH))
    assert known
    found = unfamiliarity(known, torch.stack([torch.ones(WIDTH), torch.zeros(WIDTH)]))
    assert found[0] == 0 and found[1] > 1


def test_a_file_that_could_not_be_read_has_no_distance() -> None:
    known = remember(clouds(30, 0))
    assert known
    asked = clouds(2, 1)
    asked[1] = torch.nan
    assert list(unfamiliarity(known, asked).isnan()) == [False, True]
