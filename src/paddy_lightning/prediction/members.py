"""What predicts: a run's checkpoint or an exported network, each with its way over pictures."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from paddy_lightning.choices import DataConfig, Size, Source, Tta
from paddy_lightning.config import plain
from paddy_lightning.data.broken import find_broken
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.data.shown import Shown
from paddy_lightning.data.workers import default_num_workers, fitting_workers
from paddy_lightning.errors import UserError
from paddy_lightning.network.answers import probabilities_and_traits_of, probabilities_of
from paddy_lightning.prediction.images import ToPredict
from paddy_lightning.prediction.views import TTA_VIEWS, views_by_batch
from paddy_lightning.runs.calibration import Calibration, calibration_of, temperature_of
from paddy_lightning.runs.familiarity import (
    AT_LEAST,
    Familiarity,
    familiarity_of,
    unfamiliarity,
)
from paddy_lightning.runs.run_folder import read_config
from paddy_lightning.runs.trained import (
    at_size,
    augment_of,
    folder_of,
    load_checkpoint,
    load_network,
    presize_of,
)
from paddy_lightning.runtime.model import Model
from paddy_lightning.runtime.predict import predict_batches

log = logging.getLogger(__name__)
ONNX = ".onnx"
UNREAD = "%s; it has a row without a label"
REMEMBERS_NOTHING = (
    f"remembers no pictures: it was trained before that was done, or validated on fewer than"
    f" {AT_LEAST}, or this timm does not show the maps of its arch; train again"
)
OTHER_SIZE = "has not seen its validation pictures at this size; predict without size="


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

    views: Tensor
    unfamiliar: Tensor


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


def open_member(run: Path, how: How) -> Member:
    """A run folder, a checkpoint file, or a file that ``paddy export`` has written.

    Raises:
        UserError: No such network, or one that cannot predict so.
    """
    if run.suffix == ONNX:
        return _exported(run, how)
    as_trained = load_checkpoint(run)
    checkpoint = at_size(as_trained, how.size)
    own_size = checkpoint is as_trained
    familiarity = familiarity_of(checkpoint) if how.unfamiliar and own_size else None
    if how.unfamiliar and familiarity is None:
        raise UserError(f"unfamiliar: {run} {REMEMBERS_NOTHING if own_size else OTHER_SIZE}")

    def answers(pictures: ToPredict, first: int) -> Iterator[Answers]:
        return _by_checkpoint(checkpoint, pictures, first, how, familiarity)

    return Member(
        folder_of(run),
        checkpoint["hyper_parameters"],
        answers,
        temperature_of(checkpoint, how.tta),
        calibration_of(checkpoint, how.tta) if own_size else None,
    )


def _by_checkpoint(
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
            log.warning(UNREAD, problem)
        views, traits = told[..., :num_classes], told[:, -1, num_classes:]
        known = unfamiliarity(familiarity, traits) if familiarity else _unasked(told)
        yield Answers(views, known)
        first += len(told)


def _exported(path: Path, how: How) -> Member:
    """An ONNX file; in its run's folder it has that run's data, elsewhere none."""
    if how.tta is not Tta.off:
        raise UserError(
            f"tta={how.tta}: {path} joins what views it has by itself (paddy export tta=true); the"
            " run's checkpoint has the others"
        )
    if how.unfamiliar:
        raise UserError(f"unfamiliar: {path} tells no such thing; the run's checkpoint does")
    model, folder = Model(path), folder_of(path)
    if how.size not in (None, tuple(model.facts["size"])):
        raise UserError(f"size: {path} shows its network pictures of {model.facts['size']} alone")

    def answers(pictures: ToPredict, first: int) -> Iterator[Answers]:
        files = list(pictures.files[first:])
        for found, problems in predict_batches(model, pictures.root, files, how.batch_size):
            for problem in problems:
                log.warning(UNREAD, problem)
            views = torch.from_numpy(found)[:, None]
            yield Answers(views, _unasked(views))

    data = DataConfig(Source.folder)
    if (folder / "config.yaml").is_file():
        data = read_config(folder).data
    return Member(folder, model.facts | {"data": plain(data)}, answers)


def _unasked(views: Tensor) -> Tensor:
    return torch.full((len(views),), torch.nan)
