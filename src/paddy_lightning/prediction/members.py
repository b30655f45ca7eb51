"""What predicts: a network, with its way over pictures, whatever it was read from."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paddy_lightning.choices import Size, Tta
from paddy_lightning.prediction.images import ToPredict
from paddy_lightning.runs.calibration import Calibration

WITHOUT_A_LABEL = "%s; it has a row without a label"


class How(NamedTuple):
    """How pictures are predicted.

    Attributes:
        tta: How views are joined; off where there is but one.
        size: ``(height, width)`` that the network sees; None for that of its training.
        batch_size: Pictures a step.
        num_workers: Processes that open pictures; None for what is fastest here.
        unfamiliar: Whether to say how unfamiliar each is.
    """

    tta: Tta
    size: Size | None
    batch_size: int
    num_workers: int | None
    unfamiliar: bool = False


class Answers(NamedTuple):
    """What a network says of a batch.

    Attributes:
        views: float32 [B, views, num_classes], probabilities, the plain view last; NaN for files
            that cannot be read.
        unfamiliar: float32 [B], as ``unfamiliarity`` returns it; NaN where it was not asked for.
    """

    views: np.ndarray
    unfamiliar: np.ndarray


class Member(NamedTuple):
    """One network of those that predict together.

    Attributes:
        folder: Of its run, or where its file lies.
        facts: ``class_names`` and ``data``, and whatever else a checkpoint has.
        answers: Pictures, and the row to begin with -> a batch after the other, in their order;
            files that cannot be read are told.
        temperature: By which its logits are to be divided.
        calibration: What its validation says of just these views, at its own size.
    """

    folder: Path
    facts: dict[str, Any]
    answers: Callable[[ToPredict, int], Iterator[Answers]]
    temperature: float = 1
    calibration: Calibration | None = None
