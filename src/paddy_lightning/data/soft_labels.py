"""Soft labels: a label in part replaced by what networks said that did not train on its picture.

The table is ``out_of_fold.csv`` of ``paddy compare``. Its folds must be the run's own. Then what
``group=`` keeps together was in one fold there, too; otherwise a network would say of a picture
what it had learned of its like by heart. And the run's error stands beside those of the runs
behind the table, on the same pictures.

What is left: the networks of the other folds had the labels of this run's validation pictures to
learn from, and what they say of the training pictures carries a little of that. So the error of a
run with soft labels flatters a little, and only pictures that none of the networks saw are a fair
judge of it. Where the table has none of the validation pictures, nothing of them gets in.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.listing import some
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
HEAD = ["file", "label", "predicted", "confidence", "loss", "fold"]  # the classes come after
ROUNDING = 1e-3  # of the sum of a row: what some networks' probabilities lack or exceed


def soft_targets(path: Path, table: pd.DataFrame, class_names: list[str], share: float) -> Tensor:
    """The targets of a table's pictures; the plain label for those that validate.

    Args:
        path: Of the out-of-fold predictions.
        table: The run's pictures: ``file``, ``label``, ``is_valid``.
        class_names: In the order of the network's outputs.
        share: Of a label's weight that goes to the predictions.

    Returns:
        float32 [rows, num_classes], rows sum to 1.

    Raises:
        UserError: As ``read_out_of_fold``; or other classes or folds, or pictures without a row.
    """
    fold, said = read_out_of_fold(path)
    if sorted(map(str, said)) != sorted(class_names):
        theirs, ours = some(map(str, said)), some(class_names)
        raise UserError(f"soft_labels={path}: has other classes: {theirs}, and not {ours}")
    refuse_other_folds(path, fold, table.loc[table["is_valid"], "file"])
    train = ~table["is_valid"].to_numpy()
    unsaid = table.loc[train & ~table["file"].isin(said.index), "file"]
    if len(unsaid):
        raise UserError(
            f"soft_labels={path}: {len(unsaid)} of {train.sum()} pictures to train on have no row"
            f" there: {some(unsaid)}"
        )
    plain = np.eye(len(class_names))[pd.Categorical(table["label"], class_names).codes]
    soft = (1 - share) * plain + share * said.reindex(table["file"])[class_names].to_numpy()
    return torch.from_numpy(np.where(train[:, None], soft, plain)).float()


def refuse_other_folds(path: Path, fold: pd.Series, valid: pd.Series) -> None:
    """Return if the validation pictures are one whole fold of the table, or not in it at all.

    Args:
        path: Of the table.
        fold: Of each picture, by its file.
        valid: The run's validation pictures.

    Raises:
        UserError: They are neither.
    """
    theirs = set(fold[fold.index.isin(valid)])
    if not theirs:
        return
    if len(theirs) > 1 or {*fold.index[fold.isin(theirs)]} != {*valid}:
        raise UserError(
            f"soft_labels={path}: the pictures that validate here are no fold of that table: give"
            " fold=, folds=, split=, split_seed= and group= as they were in its runs"
        )
    log.info("soft_labels: their networks trained on what validates here: the error flatters a bit")


def read_out_of_fold(path: Path) -> tuple[pd.Series, pd.DataFrame]:
    """Of each picture, by its file: its fold, and a column of probabilities a class.

    Raises:
        UserError: No such file, not out of fold, or no probabilities.
    """
    if not path.is_file():
        raise UserError(f"soft_labels={path}: no such file")
    lines = read_table(path, header=None)  # a class may be called "fold"
    names, rows = lines.iloc[0].tolist(), lines.iloc[1:]
    files, folds = rows[0].rename(None), rows.iloc[:, len(HEAD) - 1 : len(HEAD)]
    if names[: len(HEAD)] != HEAD or files.duplicated().any() or folds.nunique().item() < 2:
        raise UserError(
            f"soft_labels={path}: is no table of out-of-fold predictions, a row a picture with its"
            " fold: paddy compare writes one, out_of_fold.csv, of runs of all folds"
        )
    said = rows.iloc[:, len(HEAD) :].set_axis(names[len(HEAD) :], axis=1).set_axis(files)
    said = said.apply(pd.to_numeric, errors="coerce")
    wrong = ~((said >= 0).all(axis=1) & ((said.sum(axis=1) - 1).abs() < ROUNDING))
    if wrong.any():
        raise UserError(
            f"soft_labels={path}: {wrong.sum()} rows are no probabilities of the classes, from 0 to"
            f" 1 with a sum of 1: {some(said.index[wrong])}"
        )
    return folds.iloc[:, 0].set_axis(files), said.div(said.sum(axis=1), axis=0)
