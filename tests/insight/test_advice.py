"""How long to train: said only where the pictures bear it out."""

import numpy as np
import pandas as pd
import pytest

from paddy_lightning.insight.advice import advice

RISING, FALLING = [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]


def epochs_of(losses: list[float], errors: list[float]) -> pd.DataFrame:
    """One frozen epoch, which must not count, and then these."""
    table = pd.DataFrame({"error_rate": [0.01, *errors], "valid_loss": [0.01, *losses]})
    return table.assign(epoch=range(1, len(table) + 1))


def nested(errors: list[float], pictures: int) -> dict[int, np.ndarray]:
    """The first pictures are wrong, so many as the error says: no two epochs err elsewhere."""
    every = [0.01, *errors]
    return {
        number + 1: (np.arange(pictures) >= round(error * pictures)).astype(np.int8)
        for number, error in enumerate(every)
    }


@pytest.mark.parametrize(
    ("errors", "losses", "pictures", "answer"),
    [
        ([0.5, 0.4], [1, 1], 2000, "too few epochs"),
        ([0.5, 0.4, 0.3, 0.2, 0.15, 0.1], FALLING, 2000, "train longer"),
        ([0.5, 0.4, 0.3, 0.2, 0.15, 0.1], RISING, 2000, "cannot tell"),
        ([0.5, 0.4, 0.3, 0.2, 0.15, 0.1], FALLING, 30, "cannot tell with 30 pictures"),
        ([0.3, 0.1, 0.2, 0.3, 0.3, 0.3], [3, 1, 2, 3, 3, 3], 2000, "retrain with epochs=2"),
        ([0.3, 0.1, 0.2, 0.3, 0.3, 0.3], FALLING, 2000, "cannot tell"),
        ([0.3, 0.1, 0.2, 0.3, 0.3, 0.3], [3, 1, 2, 3, 3, 3], 20, "cannot tell"),
        ([0.3, 0.2, 0.1, 0.1, 0.1, 0.1], [3, 2, 1, 1.2, 1.3, 1.4], 2000, "fine as it is"),
        ([0.3, 0.2, 0.1, 0.1, 0.1, 0.1], [3, 2, 1, 1, 1, 1], 2000, "levelled off"),
        ([0.3, 0.2, 0.1, 0.1, 0.1, 0.1], [3, 2, 1, 1, 1, 1], 78, "cannot tell with 78"),
    ],
)
def test_what_the_pictures_bear_out(
    errors: list[float], losses: list[float], pictures: int, answer: str
) -> None:
    assert answer in advice(epochs_of(losses, errors), nested(errors, pictures), freeze_epochs=1)


def test_three_pictures_and_a_falling_loss_are_no_advice() -> None:
    """A demo run: the error "grew" by three pictures of 72 while the loss fell."""
    errors, losses = [1 / 72, 3 / 72, 4 / 72], [0.144, 0.13, 0.121]
    told = advice(epochs_of(losses, errors), nested(errors, 72), freeze_epochs=1)
    assert told == (
        "cannot tell with 72 pictures how long to train (since epoch 2, 0 pictures won and 3 lost,"
        " p = 0.250; the loss went from 0.144 to 0.121)"
    )


def test_pictures_decide_and_not_rates() -> None:
    """The same rates, .100 and .085 of 2,000: 30 pictures won, or 330 won and 300 lost."""
    errors = [0.2, 0.1, 0.085]
    right = nested(errors, 2000)
    told = advice(epochs_of([3, 2, 1], errors), right, freeze_epochs=1)
    assert told.endswith("(since epoch 3, 30 pictures won and 0 lost, p < 0.001): train longer")
    right[4] = np.ones(2000, np.int8)
    right[4][[*range(200, 370)]] = 0  # others than the 200 before
    told = advice(epochs_of([3, 2, 1], errors), right, freeze_epochs=1)
    assert told.startswith("cannot tell with 2000 pictures how long to train (since epoch 3, 200")


def test_chance_alone_gives_no_advice() -> None:
    """Epochs that are all equally good, over and over: a verdict must be rarer than its level."""
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(200):
        hits = (rng.random((11, 300)) > 0.2).astype(np.int8)
        right = {number + 1: row for number, row in enumerate(hits)}
        table = epochs_of(rng.random(10).tolist(), (1 - hits[1:].mean(axis=1)).tolist())
        told = advice(table, right, freeze_epochs=1)
        verdicts.append("retrain" in told or "train longer" in told)
    assert np.mean(verdicts) <= 0.05


@pytest.mark.parametrize("right", [{}, {1: np.ones(9, np.int8), 4: np.ones(9, np.int8)}])
def test_without_the_pictures_there_is_no_verdict(right: dict[int, np.ndarray]) -> None:
    told = advice(epochs_of([1, 2, 3], [0.1, 0.2, 0.3]), right, freeze_epochs=1)
    assert told.startswith("cannot tell how long to train")


def test_only_pictures_that_every_epoch_saw_count() -> None:
    errors = [0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    right = nested(errors, 2000)
    right[3][30:] = -1
    told = advice(epochs_of([6, 5, 4, 3, 2, 1], errors), right, freeze_epochs=1)
    assert "cannot tell with 30 pictures" in told
