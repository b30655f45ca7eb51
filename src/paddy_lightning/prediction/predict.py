"""Trained networks and pictures -> a table of predictions, and CSV files."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from paddy_lightning.atomic import set_aside
from paddy_lightning.choices import Size, Tta
from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.config import check_counts
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.knob import read_enum, read_path
from paddy_lightning.prediction.confidence import add_candidates, bound_of, confidence_of
from paddy_lightning.prediction.ensemble import check_members, divided, join_members, shares
from paddy_lightning.prediction.images import find_images, trained_on
from paddy_lightning.prediction.members import How, open_member
from paddy_lightning.prediction.report import report_errors, report_members, report_top
from paddy_lightning.prediction.submission import submission
from paddy_lightning.prediction.views import join_views, predictions_table
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.trained import (
    folder_of,
)

log = logging.getLogger(__name__)


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

    Returns:
        A row a picture, in the order of their paths: ``file`` (relative to the folder),
        ``label`` (the likeliest class), ``confidence`` (its probability, calibrated on
        the validation pictures), with ``coverage`` also ``candidates`` and ``sure`` (there is but
        one), and the probability of every class in a column of its name. A file that cannot be
        read has a row with an empty label and no numbers, and is told as a warning.

    Raises:
        UserError: No such run, no pictures, or members that do not go together.
    """
    runs = read_path([run] if isinstance(run, (str, Path)) else list(run))
    tta = read_enum("tta", Tta, tta)
    how = How(tta, size, batch_size, num_workers)
    return _predict(runs, read_path(images), how, ensemble_weights, coverage)[0]


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
    how = How(config.tta, config.size, config.batch_size, config.num_workers)
    predictions, sample = _predict(
        runs, config.images, how, config.ensemble_weights, config.coverage
    )
    written = _write_csv(output / "predictions.csv", predictions)
    if sample is not None:
        _write_csv(output / "submission.csv", submission(predictions, sample))
    return written


def _predict(
    runs: Sequence[str | Path],
    images: str | Path | None,
    how: How,
    ensemble_weights: Sequence[float] | None,
    coverage: float | None,
) -> tuple[pd.DataFrame, Path | None]:
    """The table of predictions, and Kaggle's sample of ids where it asks for these pictures."""
    weights = shares(ensemble_weights, len(runs))
    members = [open_member(Path(run), how) for run in runs]
    check_members([member.facts for member in members], [str(run) for run in runs])
    class_names = members[0].facts["class_names"]
    temperatures = [member.temperature for member in members]
    confidence = confidence_of(members, weights, how.tta)
    least = None if coverage is None else bound_of(confidence, class_names, coverage)
    pictures = find_images(images, members[0].facts)
    log.info("data: %d pictures in %s", len(pictures.files), pictures.root)
    every_view = [member.views(pictures) for member in members]

    def joined(tta: Tta) -> Tensor:
        each = [join_views(views, tta) for views in every_view]
        if tta is Tta.max:  # no probabilities
            return join_members(each, weights, [1] * len(each))
        return divided(join_members(each, weights, temperatures), confidence.temperature)

    predictions = predictions_table(pictures.files, joined(how.tta), class_names)
    if least is not None:
        predictions = add_candidates(predictions, class_names, least)
    if len(runs) > 1:
        report_members([member.folder for member in members], weights, temperatures)
    if len(predictions) == 1:
        report_top(predictions, class_names)
    if images is not None:
        without_tta = predictions_table(pictures.files, joined(Tta.off), class_names)["label"]
        trained = np.any(
            [trained_on(member.folder, member.facts, pictures) for member in members], axis=0
        )
        report_errors(predictions, without_tta, how.tta, class_names, trained)
    return predictions, pictures.sample


def _write_csv(path: Path, frame: pd.DataFrame) -> Path:
    if aside := set_aside(path):
        log.info("kept what was there as %s", aside)
    write_table(path, frame)
    log.info("wrote %s (%d rows)", path, len(frame))
    return path
