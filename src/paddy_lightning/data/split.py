"""Which pictures validate: the column ``is_valid`` of a table."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from paddy_lightning.choices import Split
from paddy_lightning.data.listing import some
from paddy_lightning.errors import UserError, nearest

log = logging.getLogger(__name__)
DUPLICATES = "duplicates"  # the value of group= that is not a column
ALIKE = "alike"  # the column that is made of it


def split_table(
    table: pd.DataFrame,
    root: Path,
    split: Split = Split.auto,
    seed: int = 42,
    fold: int | None = None,
    folds: int = 5,
    group: str | None = None,
) -> pd.DataFrame:
    """Choose the validation pictures, and say which classes one side will not see.

    Args:
        table: One row a picture: ``file``, ``label`` and maybe ``is_valid`` and more.
        root: The folder that the files are relative to.
        split: auto keeps the data's own ``is_valid``, or else is random; stratified gives every
            class its share.
        seed: Of the permutation, apart from a run's ``seed``.
        fold: Of ``folds``, from 0. None with neither groups nor strata is fastai's split of 20 %,
            otherwise the first fold.
        folds: How many.
        group: ``duplicates`` or a column: equal ones stay on one side, empty ones go anywhere.

    Returns:
        A copy of ``table`` with the boolean column ``is_valid``, and of ``duplicates`` with the
        column ``alike``: the number of each picture's group, from 1.

    Raises:
        UserError: No such column, or a split that is not possible or leaves one side empty.
    """
    groups = groups_of(table, root, group)
    if groups is not None and group == DUPLICATES:
        table = table.assign(**{ALIKE: pd.factorize(groups)[0] + 1})
    otherwise = "take another fold=, or fewer folds="
    if split is Split.auto and "is_valid" in table:
        if fold is not None or group is not None:
            raise UserError(
                "fold, group: the data has a split of its own; set split=random or"
                " split=stratified to split it anew"
            )
        otherwise = "the data's own split is so; set split=random to split it anew"
    elif split is not Split.stratified and fold is None and groups is None:
        table = random_split(table, seed=seed)
    else:
        stratified = split is Split.stratified
        table = fold_split(table, fold or 0, folds, seed, stratified, groups)
    if table["is_valid"].nunique() < 2:
        told = "train, none validates" if not table["is_valid"].any() else "validate, none trains"
        raise UserError(f"all {len(table)} pictures {told}: {otherwise}")
    _say_what_is_missing(table)
    return table


def random_split(table: pd.DataFrame, valid_share: float = 0.2, seed: int = 42) -> pd.DataFrame:
    """fastai's ``RandomSplitter``: the same pictures validate for the same seed and order.

    Args:
        table: One row a picture, in the order of its files.
        valid_share: Of the pictures, rounded down, at least one picture.
        seed: Of the permutation, apart from a run's ``seed``.

    Returns:
        A copy of ``table`` with the boolean column ``is_valid``.
    """
    import torch  # slow to import: not for those who only read a table

    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed)).numpy()
    return _with_valid(table, order[: max(1, int(valid_share * len(table)))])


def fold_split(
    table: pd.DataFrame,
    fold: int,
    folds: int,
    seed: int = 42,
    stratified: bool = False,
    groups: pd.Series | None = None,
) -> pd.DataFrame:
    """One of ``folds`` shuffled folds validates; over all folds, every picture once.

    Args:
        table: One row a picture, in the order of its files.
        fold: Which, from 0.
        folds: How many.
        seed: Of the shuffling.
        stratified: Whether every class is spread over the folds as evenly as it goes.
        groups: A value a row; equal ones stay in one fold.

    Returns:
        A copy of ``table`` with the boolean column ``is_valid``.

    Raises:
        UserError: More folds than pictures, groups, or pictures of the largest class.
    """
    return _with_valid(table, fold_rows(table, folds, seed, stratified, groups)[fold])


def fold_rows(
    table: pd.DataFrame,
    folds: int,
    seed: int = 42,
    stratified: bool = False,
    groups: pd.Series | None = None,
) -> list[np.ndarray]:
    """int64, the rows of every fold; as ``fold_split``."""
    from sklearn import model_selection  # slow to import, and most runs need no folds

    if stratified:
        kind = "StratifiedKFold" if groups is None else "StratifiedGroupKFold"
    else:
        kind = "KFold" if groups is None else "GroupKFold"
    splitter = getattr(model_selection, kind)(folds, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rare classes, which are told in our own words
            return [valid for _, valid in splitter.split(table, table["label"], groups)]
    except ValueError as error:
        raise UserError(f"folds={folds}: not possible here ({error})") from error


def groups_of(table: pd.DataFrame, root: Path, group: str | None) -> pd.Series | None:
    """A value a row, equal for those that stay on one side; None without ``group``.

    Raises:
        UserError: No such column.
    """
    if group is None:
        return None
    if group == DUPLICATES:
        from paddy_lightning.data.alike import group_alike  # opens pictures: few need it

        groups = group_alike(root, table["file"])
        log.info("group=duplicates: %s", _told(groups.value_counts()))
        return groups
    if group not in table:
        known = [DUPLICATES, *sorted(set(table.columns) - {"file", "label", "is_valid"})]
        raise UserError(
            f"group={group}: no such column; there is {', '.join(known)}{nearest(group, known)}"
        )
    unknown = table[group].str.strip() == ""
    if unknown.any():
        told = "%d pictures have no %s: each is a group of its own"
        log.warning(told, int(unknown.sum()), group)
    return table[group].where(~unknown, "\0" + table["file"])  # no name has a zero byte


def _told(sizes: pd.Series) -> str:
    """How many groups there are of how many pictures, by the sizes of the groups."""
    several = sizes[sizes > 1]
    if several.empty:
        return f"no two of {sizes.sum()} pictures look alike"
    found = f"{sizes.sum()} pictures are {len(sizes)} groups: {several.sum()} look like others"
    return f"{found}, at most {several.iloc[0]} alike"


def _with_valid(table: pd.DataFrame, rows: object) -> pd.DataFrame:
    is_valid = pd.Series(False, index=range(len(table)))
    is_valid.iloc[rows] = True  # type: ignore[call-overload]
    return table.assign(is_valid=is_valid.to_numpy())


def _say_what_is_missing(table: pd.DataFrame) -> None:
    """Classes that only one side has: one of the two cannot learn, the other cannot measure."""
    labels = set(table["label"])
    for side, fate in ((False, "train on"), (True, "validate on")):
        absent = sorted(labels - set(table.loc[table["is_valid"] == side, "label"]))
        if absent:
            counts = f"{len(absent)} of {len(labels)}"
            log.warning("%s classes have no picture to %s: %s", counts, fate, some(absent))
