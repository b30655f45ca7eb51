"""Predictions -> the CSV file that Kaggle takes; the check of one before it is sent."""

import logging
from pathlib import Path

import pandas as pd

from paddy_lightning.csv_tables import read_table
from paddy_lightning.errors import UserError, nearest

log = logging.getLogger(__name__)


def submission(predictions: pd.DataFrame, sample: Path) -> pd.DataFrame:
    """The sample's ids, in its order, each with our label.

    A picture that could not be read gets the commonest label: a submission wants every row.

    Raises:
        UserError: The pictures are not those of the sample, or none of them could be read.
    """
    ids = _ids(sample)
    names = _names(predictions["file"])
    if (twice := names[names.duplicated()]).size:
        raise UserError(f"{sample}: wants one picture an id; {twice.iloc[0]} is in two folders")
    if wrong := sorted(set(ids.iloc[:, 0]) ^ set(names)):
        raise UserError(
            f"{sample}: its ids are not the predicted pictures ({len(wrong)} differ, such as"
            f" {', '.join(wrong[:3])}); is a picture missing?"
        )
    labels = predictions.set_index(names)["label"]
    unread = labels == ""
    if unread.all():
        raise UserError(f"{sample}: none of its pictures can be read; there is nothing to hand in")
    if unread.any():
        commonest = labels[~unread].mode().iloc[0]
        log.warning("the submission says %s, the commonest, for the unread ones", commonest)
        labels = labels.where(~unread, commonest)
    id_column, label_column = ids.columns[:2]
    return pd.DataFrame(
        {id_column: ids[id_column], label_column: labels.loc[ids[id_column]].to_numpy()}
    )


def fits(files: pd.Series, sample: Path) -> bool:
    """Whether a sample asks for these pictures and no others.

    Raises:
        UserError: It is no sample.
    """
    names = _names(files)
    return not names.duplicated().any() and set(names) == set(_ids(sample).iloc[:, 0])


def _ids(sample: Path) -> pd.DataFrame:
    ids = read_table(sample)
    if len(ids.columns) < 2:
        raise UserError(
            f"{sample}: has only the column {ids.columns[0]}; a sample has ids and labels"
        )
    return ids


def _names(files: pd.Series) -> pd.Series:
    """The ids of pictures: the names of their files."""
    return files.str.split("/").str[-1]


def check_submission(path: Path, sample: Path, class_names: list[str]) -> None:
    """Refuse a file that Kaggle would refuse, or score as nonsense.

    Raises:
        UserError: Names the first row or column that is wrong.
    """
    found, wanted = read_table(path), read_table(sample)
    if list(found) != list(wanted):
        have, want = (", ".join(map(str, table.columns)) for table in (found, wanted))
        raise UserError(f"{path}: has the columns {have}; {sample.name} has {want}")
    ids, labels = (found[column] for column in found.columns[:2])
    if (twice := ids[ids.duplicated()]).size:
        raise UserError(f"{path}: {twice.iloc[0]!r} is in it twice")
    if missing := sorted(set(wanted.iloc[:, 0]) - set(ids)):
        raise UserError(f"{path}: {missing[0]!r} is missing ({len(missing)} of {len(wanted)} are)")
    if foreign := sorted(set(ids) - set(wanted.iloc[:, 0])):
        raise UserError(f"{path}: {foreign[0]!r} is not in {sample} ({len(foreign)} are not)")
    if not ids.equals(wanted.iloc[:, 0]):
        raise UserError(f"{path}: its rows are not in the order of {sample}")
    if (gaps := ids[labels == ""]).size:
        raise UserError(f"{path}: {gaps.iloc[0]!r} has no label ({len(gaps)} have none)")
    if (unknown := labels[~labels.isin(class_names)]).size:
        word = unknown.iloc[0]
        raise UserError(
            f"{path}: {word!r} is no class of this run{nearest(word, class_names)} ({len(unknown)}"
            " rows have such a label)"
        )
