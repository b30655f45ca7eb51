import torch
from hypothesis import given
from hypothesis import strategies as st

from paddy_lightning.data.random_numbers import uniform, uniform_of_one

INTEGERS = st.integers(0, 2**40)


@given(INTEGERS, INTEGERS, st.lists(INTEGERS, min_size=1, max_size=8), st.integers(0, 99))
def test_a_row_does_not_depend_on_its_batch(
    seed: int, epoch: int, index: list[int], view: int
) -> None:
    together = uniform(seed, epoch, torch.tensor(index), view, 5)
    alone = torch.cat([uniform(seed, epoch, torch.tensor([i]), view, 5) for i in index])
    assert torch.equal(together, alone)
    assert together.min() >= 0 and together.max() < 1


@given(
    st.integers(-(2**63), 2**63 - 1), INTEGERS, st.integers(0, 2**62), INTEGERS, st.integers(0, 9)
)
def test_of_one_picture_they_are_the_same(
    seed: int, epoch: int, index: int, view: int, count: int
) -> None:
    expected = uniform(seed, epoch, torch.tensor([index]), view, count)[0].tolist()
    assert uniform_of_one(seed, epoch, index, view, count) == expected


def test_the_numbers_are_uniform_and_unrelated() -> None:
    numbers = uniform(42, 0, torch.arange(20_000), 0, 4)
    assert (numbers.mean(0) - 0.5).abs().max() < 0.01
    assert (numbers.var(0) - 1 / 12).abs().max() < 0.002
    others = [
        uniform(43, 0, torch.arange(20_000), 0, 4),
        uniform(42, 1, torch.arange(20_000), 0, 4),
    ]
    others += [uniform(42, 0, torch.arange(20_000), 1, 4), numbers.roll(1, 0), numbers.roll(1, 1)]
    for other in others:
        both = torch.stack([numbers.flatten(), other.flatten()])
        assert torch.corrcoef(both)[0, 1].abs() < 0.02


def test_the_numbers_are_those_of_plain_integers() -> None:
    """The same hash with Python's unbounded integers, and the values a rerun relies on."""
    mask = 2**64 - 1

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    def plainly(seed: int, epoch: int, index: int, view: int, count: int) -> list[int]:
        gamma, key = 0x9E3779B97F4A7C15, seed
        for part in (epoch, index, view):
            key = (mix((key + gamma) & mask) + part) & mask
        return [mix((mix(key) + step * gamma) & mask) >> 40 for step in range(1, count + 1)]

    found = (uniform(42, 1, torch.tensor([0, 7]), 2, 3) * 2**24).long().tolist()
    assert found == [plainly(42, 1, 0, 2, 3), plainly(42, 1, 7, 2, 3)]
    assert found[0] == [2915859, 15728177, 6665673]
