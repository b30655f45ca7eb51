"""Labels that are likely wrong, by networks that did not train on the pictures.

Cleanlab estimates from out-of-fold probabilities how many labels are wrong (Northcutt et al.,
Confident Learning, 2021); suspected are as many, those that the networks believe the least. What
looks alike and is labelled otherwise comes before all: one of the two must be wrong.
"""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from paddy_lightning.data.alike import find_alike
from paddy_lightning.data.equal_files import equal_files
from paddy_lightning.data.perceptual_hash import as_rows, hashes_of
from paddy_lightning.data.soft_labels import HEAD
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import compare
from paddy_lightning.lettering import printable

log = logging.getLogger(__name__)
COLUMNS = ["file", "label", "suggested", "wrong", "why", "keep"]  # of labels.csv
TRAIN_FOLDS = "paddy train -m fold=0,1,2,3,4 trains them"


class Said(NamedTuple):
    """What networks said of pictures that they did not train on.

    Attributes:
        table: ``file``, ``label`` and the ``fold`` of every picture, by file.
        probabilities: float64 [N, classes], the mean over all seeds and settings.
        answers: How many a picture has.
    """

    table: pd.DataFrame
    probabilities: pd.DataFrame
    answers: int


def out_of_fold(folders: list[Path]) -> Said:
    """The mean answer of all settings and seeds whose folds are all there; the others are told.

    Raises:
        UserError: None has all its folds, or two were trained on other labels or classes.
    """
    found = compare(folders)
    for reason in _lacking(found.folds):
        log.warning("left out: %s", reason)
    tables = list(found.out_of_fold.values())
    if not tables:
        reasons = "; ".join(_lacking(found.folds)) or "the runs do not differ in their fold"
        raise UserError(f"runs: no prediction of every picture: {reasons}; {TRAIN_FOLDS}")
    first, head = tables[0], len(HEAD)
    for table in tables[1:]:
        same = table.iloc[:, :2].equals(first.iloc[:, :2])
        if not same or list(table.columns[head:]) != list(first.columns[head:]):
            raise UserError(
                "runs: some were trained on other pictures or labels; name the runs of one table"
            )
    mean = np.mean([table.iloc[:, head:].to_numpy(float) for table in tables], axis=0)
    probabilities = pd.DataFrame(mean, columns=first.columns[head:])
    table = first.iloc[:, :head][["file", "label", "fold"]]
    return Said(table, probabilities.div(probabilities.sum(axis=1), axis=0), len(tables))


def _lacking(folds: pd.DataFrame) -> Iterator[str]:
    """What settings and seeds lack, where it is something."""
    for row in folds.to_dict("records"):
        if pd.isna(row.get("file")):
            names = [*folds][: [*folds].index("seed") + 1]
            more = f", but {row['problem']}" if row["problem"] else ""
            setting = ", ".join(f"{name}={row[name]}" for name in names)
            yield f"{setting}: {row['folds']} folds{more}"


def label_issues(said: Said, root: Path | None) -> pd.DataFrame:
    """Every picture, the likeliest wrong label first; look-alikes with different labels before all.

    Args:
        said: What networks said of the pictures.
        root: The folder they lie in, to look for look-alikes; None where they are not there.

    Returns:
        ``file``, ``label``, ``suggested``, ``wrong`` (the probability that networks that did not
        train on the picture give to all other labels, together), ``why``, ``keep`` (False: the
        label is suspected); and ``other``, the file that looks alike and is labelled otherwise, or
        "", and ``row`` in ``said``.

    Raises:
        UserError: Cleanlab is not installed.
    """
    names = said.probabilities.columns.to_numpy()
    of_label = pd.Categorical(said.table["label"], names).codes.astype(np.int64)
    values = said.probabilities.to_numpy()
    wrong = 1 - values[np.arange(len(values)), of_label]
    suspected, guess = suspects(of_label, values), values.argmax(1)
    group, other = _contradictions(said.table, of_label, root)
    for number in np.unique(group[group >= 0]):
        rows = np.flatnonzero(group == number)
        agreed = _agreed(of_label[rows], values[rows])
        rows = rows[other[rows] >= 0]
        guess[rows], suspected[rows] = agreed, of_label[rows] != agreed
    first = pd.Series(wrong).groupby(group).transform("max").where(group >= 0, -1)
    issues = said.table[["file", "label"]].assign(
        suggested=names[guess],
        wrong=wrong.round(4),
        why=[_why(said, row, place) for row, place in enumerate(other)],
        keep=~suspected,
        other=["" if place < 0 else said.table["file"].iloc[place] for place in other],
        row=np.arange(len(guess)),
    )
    order = np.lexsort((-wrong, ~suspected, group, -first))  # the last is the first
    return issues.iloc[order].reset_index(drop=True)


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """bool [N]: the least believed labels, as many as cleanlab finds to be wrong.

    Of its ways to choose and to order, this one finds the most swapped labels at the least false
    alarms, over three data sets (``benchmarks/label_issues_frozen.py``).

    Args:
        labels: int64 [N].
        probabilities: float64 [N, classes], out of sample.

    Raises:
        UserError: Cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise UserError(
            f"paddy labels needs a package that is not installed ({error}): pip install cleanlab"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rare classes
        # One process: by itself it starts as many as there are cores.
        found = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    return np.asarray(found) & (probabilities.argmax(1) != labels)


def _contradictions(
    table: pd.DataFrame, labels: np.ndarray, root: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture the group of look-alikes and one of another label; -1 where labels agree."""
    if root is None:
        return np.full(len(table), -1), np.full(len(table), -1)
    digests = equal_files(root, table["file"])
    hashes = as_rows(hashes_of(root, table["file"]), digests)
    group, other = find_alike(hashes, labels, table["fold"].to_numpy(np.int64))
    groups = pd.DataFrame({"label": labels, "fold": table["fold"]}).groupby(group)
    across = int((groups["fold"].transform("nunique") > 1).sum())
    if across:
        log.info(
            "%d pictures look like one of another fold, by whose label they are judged: train the"
            " folds with group=duplicates",
            across,
        )
    differ = (groups["label"].transform("nunique") > 1).to_numpy()
    return np.where(differ, group, -1), np.where(labels[other] != labels, other, -1)


def _agreed(labels: np.ndarray, probabilities: np.ndarray) -> int:
    """What most of a group are called; of as many, what the networks rather say of all."""
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    return int(np.lexsort((probabilities.sum(0), counts))[-1])


def _why(said: Said, row: int, other: int) -> str:
    """In words; nothing where the networks agree with the label."""
    names, values = list(said.probabilities), said.probabilities.to_numpy()[row]
    label, reasons = said.table["label"].iloc[row], []
    if other >= 0:
        alike = said.table.iloc[other]
        reasons.append(
            f"looks like {printable(alike['file'])}, labelled {printable(alike['label'])}"
        )
    if (likeliest := int(values.argmax())) != names.index(label):
        called = f"{printable(names[likeliest])} with {short(values[likeliest])}"
        own = f"{printable(label)} with {short(values[names.index(label)])}"
        reasons.append(f"pictures like this are called {called}, {own}")
    return "; ".join(reasons)


def short(probability: float) -> str:
    """``.97``"""
    return f"{probability:.2f}".removeprefix("0")
