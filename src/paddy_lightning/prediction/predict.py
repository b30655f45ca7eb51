"""Trained networks and pictures -> a table of predictions, and CSV files."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from paddy_lightning.atomic import set_aside
from paddy_lightning.choices import Size, Tta
from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.config import check_counts
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.importing import importing
from paddy_lightning.knob import read_enum, read_path
from paddy_lightning.prediction.confidence import (
    Confidence,
    add_candidates,
    bound_of,
    confidence_of,
)
from paddy_lightning.prediction.ensemble import check_members, divided, join_members, shares
from paddy_lightning.prediction.images import ToPredict, find_images, trained_on
from paddy_lightning.prediction.members import How, Member
from paddy_lightning.prediction.partial import Labels, fingerprint, partial
from paddy_lightning.prediction.report import (
    report_candidates,
    report_errors,
    report_members,
    report_top,
    report_unfamiliar,
)
from paddy_lightning.prediction.submission import submission
from paddy_lightning.prediction.table import best_of, predictions_table
from paddy_lightning.prediction.tta import join_views
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.run_folder import file_of, folder_of

log = logging.getLogger(__name__)
ONNX = ".onnx"
UNFAMILIAR = "unfamiliar"


@left_as_found()
def predict(
    run: str | Path | Sequence[str | Path],
    images: str | Path | None = None,
    tta: Tta | str = Tta.off,
    batch_size: int = 64,
    num_workers: int | None = None,
    ensemble_weights: Sequence[float] | None = None,
    size: Size | None = None,
    coverage: float | None = None,
    unfamiliar: bool = False,
) -> pd.DataFrame:
    """What a trained network, or several together, make of pictures.

    Args:
        run: A run folder, a checkpoint file or a file of ``paddy export``, or several of them.
        images: A picture or a folder of them; None for the test set of the (first) run's data.
        tta: ``off``, ``mean`` or ``max`` of 4 augmented views and the plain one, from one
            decode of each file.
        batch_size: Pictures a step.
        num_workers: Processes that open pictures; None for what is fastest here. An exported
            network has threads.
        ensemble_weights: What each run counts for; None for all the same.
        size: ``(height, width)`` that the networks see; None for that of their training.
        coverage: The share of pictures like those of the validation whose class is to be among
            ``candidates``, in (0, 1); None for no such column.
        unfamiliar: Whether to tell how far pictures lie from those of the validation.

    Returns:
        A row a picture, in the order of their paths: ``file`` (relative to the folder),
        ``label`` (the likeliest class), ``confidence`` (its probability, calibrated on the
        validation pictures), with ``coverage`` also ``candidates`` and ``sure`` (there is but
        one), with ``unfamiliar`` a column of that name (a multiple of the distance that one in
        twenty validation pictures exceeds: above 1 it is of another kind), and the probability of
        every class in a column of its name. A file that cannot be read has a row with an empty
        label and no numbers, and is told as a warning.

    Raises:
        UserError: No such run, no pictures, or members that do not go together.
    """
    runs = read_path([run] if isinstance(run, (str, Path)) else list(run))
    tta = read_enum("tta", Tta, tta)
    how = How(tta, size, batch_size, num_workers, unfamiliar)
    asked = _asked(runs, read_path(images), how, ensemble_weights, coverage)
    tables, labels = [], Labels.none()
    for rows, some in _answers(asked):
        tables.append(rows)
        labels.add(some)
    predictions = pd.concat(tables, ignore_index=True)
    _report(asked, labels, named=images is not None, first=predictions)
    return predictions


@left_as_found()
def run_predict(config: PredictConfig) -> Path:
    """``paddy predict``: write ``predictions.csv`` and, where Kaggle's ids lie, ``submission.csv``.

    Returns:
        The path of ``predictions.csv``.

    Raises:
        UserError: As ``predict``; or a submission that would not fit the sample.
    """
    if not config.ckpt:
        raise UserError("say which model, with ckpt=RUN_FOLDER or ckpt=FILE.ckpt")
    check_counts(config, batch_size=1, num_workers=0)
    if config.output and Path(config.output).is_file():
        raise UserError(f"output={config.output}: is a file; name a folder")
    runs = [str(run) for run in (config.ckpt if isinstance(config.ckpt, list) else [config.ckpt])]
    if len(runs) > 1 and not config.output:
        raise UserError("several members: say where the CSV files go, with output=FOLDER")
    output = Path(config.output) if config.output else folder_of(Path(runs[0]))
    how = How(config.tta, config.size, config.batch_size, config.num_workers, config.unfamiliar)
    asked = _asked(runs, config.images, how, config.ensemble_weights, config.coverage)
    files, names = asked.pictures.files, asked.class_names
    of = _signature(runs, asked)
    rows = None
    with partial(output / "predictions.csv", of, [*names, *files]) as table:
        for rows, labels in _answers(asked, len(table.labels.told)):
            table.add(rows, labels)
    _report(asked, table.labels, named=config.images is not None, first=rows)
    log.info("wrote %s (%d rows)", table.path, len(files))
    if asked.pictures.sample is not None:
        told = pd.DataFrame({"file": files, "label": _words(table.labels.told, names)})
        _write_csv(output / "submission.csv", submission(told, asked.pictures.sample))
    return table.path


class _Asked(NamedTuple):
    """Who is asked, about what, and how."""

    members: list[Member]
    weights: list[float]
    class_names: list[str]
    pictures: ToPredict
    how: How
    confidence: Confidence
    least: float | None  # how probable a candidate is; None: none are asked for


def _asked(
    runs: Sequence[str | Path],
    images: str | Path | None,
    how: How,
    ensemble_weights: Sequence[float] | None,
    coverage: float | None,
) -> _Asked:
    weights = shares(ensemble_weights, len(runs))
    members = [_opened(Path(run), how) for run in runs]
    check_members([member.facts for member in members], [str(run) for run in runs])
    class_names = members[0].facts["class_names"]
    if how.unfamiliar and UNFAMILIAR in class_names:
        raise UserError(f"unfamiliar: a class is called {UNFAMILIAR}, as the column would be")
    confidence = confidence_of(members, weights, how.tta)
    least = None if coverage is None else bound_of(confidence, class_names, coverage)
    pictures = find_images(images, members[0].facts)
    log.info("data: %d pictures in %s", len(pictures.files), pictures.root)
    return _Asked(members, weights, class_names, pictures, how, confidence, least)


def _opened(run: Path, how: How) -> Member:
    """Each kind brings what it needs: of an exported network, no torch."""
    if run.suffix == ONNX:
        from paddy_lightning.prediction.by_export import from_export

        return from_export(run, how)
    with importing():
        from paddy_lightning.prediction.by_checkpoint import from_checkpoint

    return from_checkpoint(run, how)


def _signature(runs: Sequence[str | Path], asked: _Asked) -> dict[str, Any]:
    """All that the rows of a table depend on: only the same is gone on with."""
    tta, size, batch_size, _, unfamiliar = asked.how
    files = [file_of(Path(run)) for run in runs]
    return {
        "ckpt": [fingerprint(file.parent, [file.name]) for file in files],
        "ensemble_weights": asked.weights,
        "images": fingerprint(asked.pictures.root, asked.pictures.files),
        "tta": tta.name,
        "size": size and list(size),
        "batch_size": batch_size,
        "coverage": asked.least,
        "unfamiliar": unfamiliar,
    }


def _answers(asked: _Asked, first: int = 0) -> Iterator[tuple[pd.DataFrame, Labels]]:
    """A batch after the other, from some row on: the rows of the table, and their labels."""
    names, pictures = asked.class_names, asked.pictures
    for told in zip(*(member.answers(pictures, first) for member in asked.members), strict=True):
        every = [answers.views for answers in told]
        joined, plain = _joined(asked, every, asked.how.tta), _joined(asked, every, Tta.off)
        strange = np.stack([answers.unfamiliar for answers in told]).mean(0)
        last = first + len(joined)
        rows = predictions_table(pictures.files[first:last], joined, names)
        sizes = [0] * len(rows)
        if asked.least is not None:
            rows, sizes = add_candidates(rows, names, asked.least)
        if asked.how.unfamiliar:
            rows.insert(3, UNFAMILIAR, strange)
        beyond = (strange > 1).astype(int).tolist()
        yield rows, Labels(best_of(joined), best_of(plain), sizes, beyond)
        first = last


def _joined(asked: _Asked, every: Sequence[np.ndarray], tta: Tta) -> np.ndarray:
    """What all say of a batch together, calibrated: float [B, num_classes]."""
    each = [join_views(views, tta) for views in every]
    if tta is Tta.max:  # no probabilities
        return join_members(each, asked.weights, [1] * len(each))
    temperatures = [member.temperature for member in asked.members]
    return divided(join_members(each, asked.weights, temperatures), asked.confidence.temperature)


def _report(asked: _Asked, labels: Labels, named: bool, first: pd.DataFrame | None) -> None:
    """Tell what they are worth.

    Args:
        asked: Who was, about what.
        labels: Of all pictures.
        named: Whether the user has named the pictures.
        first: Rows of the table, for a single picture.
    """
    members, weights, names, pictures, how = asked[:5]
    if len(members) > 1:
        temperatures = [member.temperature for member in members]
        report_members([member.folder for member in members], weights, temperatures)
    if asked.least is not None:
        report_candidates(labels.candidates)
    if how.unfamiliar:
        report_unfamiliar(pictures.files[np.array(labels.unfamiliar) == 1])
    if len(pictures.files) == 1 and first is not None:
        report_top(first, names)
    if named:
        told = pd.DataFrame({"file": pictures.files, "label": _words(labels.told, names)})
        plain = pd.Series(_words(labels.plain, names))
        trained = np.any(
            [trained_on(member.folder, member.facts, pictures) for member in members], axis=0
        )
        report_errors(told, plain, how.tta, names, trained)


def _words(labels: Sequence[int], class_names: list[str]) -> np.ndarray:
    """Names in place of numbers; -1 is no label, ""."""
    return np.array([*class_names, ""], dtype=object)[labels]


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    if aside := set_aside(path):
        log.info("kept what was there as %s", aside)
    write_table(path, frame)
    log.info("wrote %s (%d rows)", path, len(frame))
