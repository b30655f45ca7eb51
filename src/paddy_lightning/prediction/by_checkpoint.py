"""Predictions by a run's checkpoint, with torch: of any size, by several views, and how strange."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paddy_lightning.choices import Tta
from paddy_lightning.data.broken import find_broken
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.data.shown import Shown
from paddy_lightning.data.workers import default_num_workers, fitting_workers
from paddy_lightning.errors import UserError
from paddy_lightning.network.answers import probabilities_and_traits_of, probabilities_of
from paddy_lightning.prediction.images import ToPredict
from paddy_lightning.prediction.members import WITHOUT_A_LABEL, Answers, How, Member
from paddy_lightning.prediction.tta import TTA_VIEWS
from paddy_lightning.prediction.views import views_by_batch
from paddy_lightning.runs.calibration import calibration_of, temperature_of
from paddy_lightning.runs.familiarity import (
    AT_LEAST,
    Familiarity,
    familiarity_of,
    unfamiliarity,
)
from paddy_lightning.runs.run_folder import folder_of
from paddy_lightning.runs.trained import (
    at_size,
    augment_of,
    load_checkpoint,
    load_network,
    presize_of,
)

log = logging.getLogger(__name__)
REMEMBERS_NOTHING = (
    f"remembers no pictures: it was trained before that was done, or validated on fewer than"
    f" {AT_LEAST}, or this timm does not show the maps of its arch; train again"
)
OTHER_SIZE = "has not seen its validation pictures at this size; predict without size="


def from_checkpoint(run: Path, how: How) -> Member:
    """The network of a run folder, or of a checkpoint file.

    Raises:
        UserError: No such network, or one that cannot predict so.
    """
    as_trained = load_checkpoint(run)
    checkpoint = at_size(as_trained, how.size)
    own_size = checkpoint is as_trained
    familiarity = familiarity_of(checkpoint) if how.unfamiliar and own_size else None
    if how.unfamiliar and familiarity is None:
        raise UserError(f"unfamiliar: {run} {REMEMBERS_NOTHING if own_size else OTHER_SIZE}")

    def answers(pictures: ToPredict, first: int) -> Iterator[Answers]:
        return _answers(checkpoint, pictures, first, how, familiarity)

    return Member(
        folder_of(run),
        checkpoint["hyper_parameters"],
        answers,
        temperature_of(checkpoint, how.tta),
        calibration_of(checkpoint, how.tta) if own_size else None,
    )


def _answers(
    checkpoint: dict[str, Any],
    pictures: ToPredict,
    first: int,
    how: How,
    familiarity: Familiarity | None,
) -> Iterator[Answers]:
    facts, (root, files, _) = checkpoint["hyper_parameters"], pictures
    no_labels = np.full(len(files), -1)
    shown = Shown(
        Pictures(root, files, no_labels, presize_of(facts), pass_unread=True),
        np.arange(first, len(files)),
        augment_of(facts),
        tta=0 if how.tta is Tta.off else TTA_VIEWS,
        batch_size=how.batch_size,
        num_workers=fitting_workers(
            # A worker costs more than eight files.
            min(default_num_workers(how.num_workers), (len(files) - first) // 8),
            tuple(facts["presize"]),
            how.batch_size,
        ),
    )
    with_traits = partial(probabilities_and_traits_of, views=shown.tta + 1)
    answer = with_traits if familiarity else probabilities_of
    network, num_classes = load_network(checkpoint), len(facts["class_names"])
    if familiarity and not network.has_traits:
        raise UserError(f"unfamiliar: this timm does not show the maps of {facts['arch']}")
    for told in views_by_batch(network, shown, facts["precision"], answer=answer):
        some = files[first : first + len(told)]
        for problem in find_broken(root, some[told.isnan().any(-1).any(-1).numpy()], 1):
            log.warning(WITHOUT_A_LABEL, problem)
        views, traits = told[..., :num_classes], told[:, -1, num_classes:]
        nan = torch.full((len(told),), torch.nan)
        known = unfamiliarity(familiarity, traits) if familiarity else nan
        yield Answers(views.numpy(), known.numpy())
        first += len(told)
