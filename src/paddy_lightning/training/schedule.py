"""Learning rate and momentum as a closed function of the step: no state, so nothing to resume.

A schedule is a list of phases. Plain Python, no torch; the formulas and numbers are fastai's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOMENTUM = (0.95, 0.85)  # at the ends of a cycle, and at its peak
DIV_FINAL = 1e5  # the peak over the last rate


@dataclass(frozen=True)
class Phase:
    """One one-cycle over some epochs.

    Attributes:
        epochs: How long.
        frozen: Whether only the head (and normalisation layers) train.
        max_lr: The peak, for (body, head).
        pct_start: The share of the steps until the peak.
        div: The peak over the first rate.
    """

    epochs: int
    frozen: bool
    max_lr: tuple[float, float]
    pct_start: float = 0.25
    div: float = 25.0


def fine_tune(
    epochs: int, base_lr: float, freeze_epochs: int = 1, lr_mult: float = 100.0
) -> list[Phase]:
    """The head alone, then everything with a fraction of the rate for the body.

    fastai's ``Learner.fine_tune`` with its defaults; a phase of no epochs is left out.

    Args:
        epochs: With everything.
        base_lr: The head's first peak; half of it is the second.
        freeze_epochs: Of the head alone.
        lr_mult: The head's second peak over the body's.
    """
    frozen = Phase(freeze_epochs, True, (base_lr / 10, base_lr), pct_start=0.99)
    half = base_lr / 2
    everything = Phase(epochs, False, (half / lr_mult, half), pct_start=0.3, div=5.0)
    return [phase for phase in (frozen, everything) if phase.epochs > 0]


def one_cycle(
    epochs: int, max_lr: float, freeze_epochs: int = 0, unfrozen_lr: float | None = None
) -> list[Phase]:
    """fastai's ``fit_one_cycle``, frozen and then not: two whole cycles.

    Both groups have ONE peak. A cycle of no epochs is left out.

    Args:
        epochs: Of the unfrozen cycle.
        max_lr: The peak of the frozen cycle, and of the other unless it has its own.
        freeze_epochs: Of the frozen cycle.
        unfrozen_lr: The peak of the unfrozen cycle.
    """
    peak = max_lr if unfrozen_lr is None else unfrozen_lr
    cycles = [Phase(freeze_epochs, True, (max_lr, max_lr)), Phase(epochs, False, (peak, peak))]
    return [phase for phase in cycles if phase.epochs > 0]


def phase_at(phases: Sequence[Phase], epoch: int) -> tuple[Phase, int]:
    """The phase an epoch belongs to, and the epoch that phase began with.

    Raises:
        ValueError: The schedule ends before that epoch.
    """
    start = 0
    for phase in phases:
        if epoch < start + phase.epochs:
            return phase, start
        start += phase.epochs
    raise ValueError(f"epoch {epoch} is past the end of a schedule of {start} epochs")


def lr_and_momentum(
    phases: Sequence[Phase], steps_per_epoch: int, step: int
) -> tuple[tuple[float, float], float]:
    """The rates for (body, head) and the momentum of one optimizer step.

    Args:
        phases: In their order.
        steps_per_epoch: Optimizer steps of an epoch.
        step: Counted from 0 over all phases. Step i of a phase of n stands at i / n of its
            cycle, so the cycle's end is never reached.
    """
    phase, start = phase_at(phases, step // steps_per_epoch)
    done = (step - start * steps_per_epoch) / (phase.epochs * steps_per_epoch)
    low, high = MOMENTUM
    if done < phase.pct_start:
        rise = done / phase.pct_start
        body, head = (_cosine(peak / phase.div, peak, rise) for peak in phase.max_lr)
        return (body, head), _cosine(low, high, rise)
    fall = (done - phase.pct_start) / (1 - phase.pct_start)
    body, head = (_cosine(peak, peak / DIV_FINAL, fall) for peak in phase.max_lr)
    return (body, head), _cosine(high, low, fall)


def _cosine(start: float, end: float, share: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * share)) / 2
