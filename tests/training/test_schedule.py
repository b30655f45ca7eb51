import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddy_lightning.training.schedule import Phase, fine_tune, lr_and_momentum, one_cycle, phase_at

FASTAI_RUNS = {
    "fine_tune_40": (fine_tune(3, 3e-3), None),
    "fine_tune_170": (fine_tune(14, 1e-2, freeze_epochs=3), None),
    "fit_one_cycle scalar": (one_cycle(6, 3e-3, 3, 1e-4), "scalar"),
    "fit_one_cycle slice": ([Phase(3, True, (3e-3, 3e-3)), Phase(6, False, (1e-6, 1e-4))], "slice"),
}


@pytest.mark.parametrize("name", FASTAI_RUNS)
def test_every_step_is_fastais(golden: Path, name: str) -> None:
    phases, run = FASTAI_RUNS[name]
    file = golden / ("fit_one_cycle_60.json" if run else f"{name}.json")
    recorded = json.loads(file.read_text())
    recorded = recorded["runs"][run] if run else recorded
    steps = recorded["steps"]
    for step in range(recorded["n_steps"]):
        rates, momentum = lr_and_momentum(phases, recorded["config"]["steps_per_epoch"], step)
        assert rates == pytest.approx(steps["lr"][step], rel=1e-5)
        assert [momentum] * 2 == pytest.approx(steps["mom"][step], rel=1e-5)
        phase, _ = phase_at(phases, step // 10)
        assert phase.frozen == (steps["phase"][step] == 0)


phases_of_any_kind = st.lists(
    st.builds(
        Phase,
        epochs=st.integers(1, 20),
        frozen=st.booleans(),
        max_lr=st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)),
        pct_start=st.floats(0.01, 0.99),
        div=st.just(1.0) | st.floats(1.001, 100),  # between them, rounding is all that rises
    ),
    min_size=1,
    max_size=4,
)


@given(phases_of_any_kind, st.integers(1, 50))
def test_a_phase_rises_to_its_peak_once_and_falls(phases: list[Phase], steps: int) -> None:
    first = phases[0]
    total = first.epochs * steps
    heads = [lr_and_momentum(phases, steps, step)[0][1] for step in range(total)]
    momenta = [lr_and_momentum(phases, steps, step)[1] for step in range(total)]
    peak = first.max_lr[1]
    assert all(0 < lr <= peak * (1 + 1e-9) for lr in heads)
    assert all(0.85 - 1e-9 <= momentum <= 0.95 + 1e-9 for momentum in momenta)
    assert heads[0] == pytest.approx(peak / first.div)
    rises = [later > earlier for earlier, later in pairwise(heads)]
    assert rises == sorted(rises, reverse=True)  # up, then down, never up again


def test_a_phase_of_no_epochs_is_left_out() -> None:
    assert [phase.frozen for phase in fine_tune(3, 1e-3, freeze_epochs=0)] == [False]
    assert [phase.frozen for phase in fine_tune(0, 1e-3, freeze_epochs=2)] == [True]


@given(mult=st.floats(0.1, 1e4), lr=st.floats(1e-6, 1))
def test_the_body_trains_at_a_fraction_of_the_rate(mult: float, lr: float) -> None:
    frozen, everything = fine_tune(2, lr, lr_mult=mult)
    assert frozen == fine_tune(2, lr)[0]
    body, head = everything.max_lr
    assert head == lr / 2 and body == pytest.approx(head / mult)


def test_past_the_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch 4 is past the end of a schedule of 4 epochs"):
        phase_at(fine_tune(3, 1e-3), 4)
