"""A run's submission.csv -> Kaggle, and its score -> the run."""

import hashlib
import logging
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from paddy_lightning.atomic import write_json
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import SubmitConfig
from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.table import KAGGLE_PLACES, DataSet, kaggle_folders, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.api import (
    check_name,
    is_name,
    kaggle_api,
    send,
    submissions_left,
    wait_for_score,
)
from paddy_lightning.kaggle.download import find_files
from paddy_lightning.kaggle.errors import one_line
from paddy_lightning.prediction.submission import check_submission
from paddy_lightning.runs.run_folder import locked, read_config
from paddy_lightning.runs.summary import Summary, read_summary

log = logging.getLogger(__name__)
PREDICTION_COLUMNS = 3  # of predictions.csv, before those of the classes


def run_submit(config: SubmitConfig) -> Summary:
    """``paddy submit``: check, ask, send, wait, and write the score into the run.

    A submission that was sent and not scored yet is not sent again: its score is looked for.

    Returns:
        The run's summary.

    Raises:
        UserError: The file is not fit to be sent, nobody agreed to send it, or Kaggle refuses.
    """
    if config.competition is not None:
        check_name(config.competition)
    if not config.run:
        raise UserError(
            "say which run, with run=RUN_FOLDER (with the submission.csv of paddy predict)"
        )
    if not config.wait >= 0:
        raise UserError(f"wait={config.wait}: must be at least 0 seconds")
    run = Path(config.run)
    file = run / "submission.csv"
    if not file.is_file():
        raise UserError(f"{file}: not there; paddy predict ckpt={run} writes it")
    data = data_of(run, config.competition)
    competition = competition_of(run, data, config.competition)
    check_file(file, data, competition)
    with locked(run) if (run / "config.yaml").is_file() else nullcontext():
        summary = read_summary(run)
        earlier = _same_file(summary, file, competition)
        if not (earlier and summary["kaggle_submission_status"] == "pending"):
            _tell_earlier(summary, file, competition)
            message = config.message or default_message(run, summary)
            if not _agreed(config, competition, file, message):
                return summary
            with kaggle_api(competition) as api:
                submission = send(api, competition, file, message)
            log.info("sent %s as submission %d", file, submission)
            sent = {
                "competition": competition,
                "submission_id": submission,
                "submission_message": message,
                "submission_sha256": _digest(file),
            }
            summary = _record(run, sent | {"submission_status": "pending", "public_score": None})
        return _follow(competition, config.wait, run, summary)


def data_of(run: Path, competition: str | None) -> DataSet:
    """The files of the competition that a run, or an ensemble, is to be handed in to.

    Raises:
        UserError: They are not of a competition, or not here.
    """
    if (run / "config.yaml").is_file():
        config = read_config(run).data
        gone = config.root is not None and not Path(config.root).is_dir()
        if gone and config.source in (Source.paddy, Source.auto):  # trained elsewhere
            here = _files_of(Path(str(config.root)).name) or _files_of(competition)
            if here is None:
                raise UserError(
                    f"{run}: its data is not in {config.root} any more; say with competition=NAME"
                    f" whose files in {' or '.join(KAGGLE_PLACES)} it is of"
                )
            config.root = str(here)
    else:  # the folder of an ensemble
        here = _files_of(competition)
        folders = [here] if here else kaggle_folders()
        if len(folders) != 1:
            found = f"here are {', '.join(map(str, folders))}" if folders else "none is here"
            raise UserError(f"{run}: say which competition, with competition=NAME; {found}")
        config = DataConfig(Source.paddy, str(folders[0]))
    data = open_data(config)
    if data.config.source is not Source.paddy or data.sample_submission is None:
        raise UserError(f"{run}: its data ({data.config.source}) is not of a Kaggle competition")
    return data


def competition_of(run: Path, data: DataSet, told: str | None) -> str:
    """Which competition the data is of.

    Its folder's name tells where ``paddy download`` or Kaggle put it; elsewhere it may have any.

    Raises:
        UserError: It is not the one that was told, or nothing tells.
    """
    folder = data.root.parent
    for name in filter(None, (told, folder.name)):
        if (found := _files_of(name)) is not None and found.samefile(folder):
            break
    else:
        if told is None:
            raise UserError(
                f"{run}: its data in {folder} does not tell of which competition it is; say it"
                " with competition=NAME"
            )
        return told
    if told not in (None, name):
        raise UserError(
            f"competition={told}: {run} was trained on {folder}, the files of {name}; if they are"
            f" those of {told}, say so with: ln -s {folder} {KAGGLE_PLACES[0]}/{told}"
        )
    return name


def _files_of(name: str | None) -> Path | None:
    return find_files(name) if name and is_name(name) else None


def check_file(file: Path, data: DataSet, competition: str) -> None:
    """Say that a submission is fit to be sent.

    Raises:
        UserError: It is not.
    """
    here = _files_of(competition)  # where its name was told, this may be another folder
    own = here / "sample_submission.csv" if here else None
    sample = own if own and own.is_file() else data.sample_submission
    columns = read_table(file.with_name("predictions.csv")).columns
    class_names = [str(name) for name in columns[PREDICTION_COLUMNS:]]
    assert sample is not None  # as data_of promises
    check_submission(file, sample, class_names)
    log.info("%s: fit to be sent to %s", file, competition)


def default_message(run: Path, summary: Summary) -> str:
    """What tells the run from others on Kaggle's page."""
    error = summary.get("error_rate")
    about = [run.absolute().name, summary.get("arch"), error and f"validation error {error:.4f}"]
    return ", ".join(str(part) for part in about if part)


def _agreed(config: SubmitConfig, competition: str, file: Path, message: str) -> bool:
    """Whether to send: Kaggle takes one more today, and the user wants to.

    Raises:
        UserError: None is left today; or there is nobody to ask.
    """
    with kaggle_api(competition) as api:
        left = submissions_left(api, competition)
    if left is not None:
        log.info("submissions left today: %d", left)
    if config.dry_run:
        log.info("dry run: nothing was sent; the message would be: %s", message)
        return False
    if config.yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("nothing was sent: there is no terminal to ask at; agree with yes=true")
    if input(f"send {file} to {competition} as {message!r}? [y/N] ").lower() in ("y", "yes"):
        return True
    log.info("nothing was sent")
    return False


def _follow(competition: str, wait: float, run: Path, summary: Summary) -> Summary:
    """Wait for the score of what was sent, and write it down."""
    submission = summary["kaggle_submission_id"]
    try:
        with kaggle_api(competition) as api:
            seen = wait_for_score(api, submission, wait)
    except UserError as error:
        raise UserError(f"submission {submission} was sent; its score: {error}") from error
    page = f"https://www.kaggle.com/c/{competition}/submissions"
    if seen is None or seen.status.name == "PENDING":
        log.info("no score yet; look at %s, or later with: paddy submit run=%s", page, run)
        return summary
    public, private = _number(seen.public_score), _number(seen.private_score)
    summary = _record(
        run,
        {
            "submission_status": seen.status.name.lower(),
            "public_score": public,
            "private_score": private,
        },
    )
    if seen.status.name == "ERROR":
        reason = one_line(seen.error_description or "")
        raise UserError(f"submission {submission}: Kaggle could not score it: {reason} ({page})")
    log.info(
        "public score %s, in summary.json and TensorBoard",
        one_line(seen.public_score or "not shown"),
    )
    _log_scores(run, {"public_score": public, "private_score": private})
    return summary


def _same_file(summary: Summary, file: Path, competition: str) -> bool:
    sent = (summary.get("kaggle_competition"), summary.get("kaggle_submission_sha256"))
    return sent == (competition, _digest(file))


def _tell_earlier(summary: Summary, file: Path, competition: str) -> None:
    """Say what was sent of this run before."""
    if (submission := summary.get("kaggle_submission_id")) is None:
        return
    same = _same_file(summary, file, competition)
    log.warning(
        "%s was sent before: submission %s, %s, public score %s",
        "this very file" if same else "another submission.csv of this run",
        *(submission, summary["kaggle_submission_status"], summary["kaggle_public_score"]),
    )


def _record(run: Path, facts: dict[str, Any]) -> Summary:
    """Add what is known of a submission to the run's summary.json."""
    summary = read_summary(run) | {f"kaggle_{name}": value for name, value in facts.items()}
    write_json(run / "summary.json", summary)
    return summary


def _log_scores(run: Path, scores: dict[str, float | None]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run)) as writer:  # type: ignore[no-untyped-call]
        for name, score in scores.items():
            if score is not None:
                writer.add_scalar(f"kaggle/{name}", score)  # type: ignore[no-untyped-call]


def _number(score: str | None) -> float | None:
    try:
        number = float(score or "")
    except (TypeError, ValueError):  # not shown while a competition hides it
        return None
    return number if math.isfinite(number) else None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
