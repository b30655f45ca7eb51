"""Tables of labelled pictures in CSV files: our own, and what others made, as it was meant."""

import os
from pathlib import Path

import pandas as pd

from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.formats import suffixes
from paddy_lightning.errors import UserError


def csv_table(path: Path) -> pd.DataFrame:
    """A CSV of ``file`` and ``label``, and maybe ``is_valid`` and more.

    Raises:
        UserError: Not such a file, a gap, or a file named twice.
    """
    return _checked(path, read_table(path))


def labels_table(path: Path, root: Path) -> pd.DataFrame:
    """Somebody's CSV of labels as a table like ours.

    Args:
        path: Of the CSV file.
        root: What its files are relative to.

    Raises:
        UserError: As ``csv_table``.
    """
    return _checked(path, _as_it_lies(_tidied(path), root))


def require_files(path: Path, root: Path, files: pd.Series) -> None:
    """Refuse a table none of whose files is there.

    Raises:
        UserError: Names the first.
    """
    if any(_is_there(root, file) for file in files):
        return
    first = files.iloc[0]
    more = [first + suffix for suffix in suffixes() if _is_there(root, first + suffix)]
    hint = f"; {more[0]} is: write names with their suffixes" if more else ""
    raise UserError(
        f"{path}: none of its files is in {root}, such as {first}{hint}; data.root= names their"
        " folder"
    )


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    _require_label(path, table)
    for column in ("file", "label"):
        if gaps := int((table[column] == "").sum()):
            raise UserError(f"{path}: {gaps} rows have no {column}")
    if not (twice := table.loc[table["file"].map(os.path.normpath).duplicated(), "file"]).empty:
        raise UserError(f"{path}: {len(twice)} files are named twice, such as {twice.iloc[0]}")
    if "is_valid" in table:
        truths = {"true": True, "1": True, "false": False, "0": False}
        is_valid = table["is_valid"].str.lower().map(truths)
        if is_valid.isna().any():
            raise UserError(f"{path}: is_valid must be true or false (or 1 or 0) in every row")
        table["is_valid"] = is_valid.astype(bool)
    return table


def _tidied(path: Path) -> pd.DataFrame:
    """Somebody's CSV, without blanks around names and labels, its own columns in lower case."""
    table = read_table(path)
    if table.columns.str.startswith(" ").any():
        table = read_table(path, skipinitialspace=True)
    if not isinstance(table.index, pd.RangeIndex):  # rows are longer than the header
        more, whole = table.index.nlevels, table.reset_index()
        if (whole.iloc[:, -more:] == "").all(axis=None):  # they end with commas
            table = whole.iloc[:, :-more].set_axis(table.columns, axis=1)
    ours = {"file", "label", "is_valid"}
    names = [str(name).strip() for name in table.columns]
    names = [name.casefold() if name.casefold() in ours else name for name in names]
    table = table.set_axis(names, axis=1)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise UserError(f"{path}: two columns are called {twice}")
    _require_label(path, table)
    if set(table) <= {"label", "is_valid"}:
        raise UserError(f"{path}: has no column of files beside label")
    for name in {"label", "is_valid"}.intersection(table):
        table[name] = table[name].str.strip()
    return table


def _require_label(path: Path, table: pd.DataFrame) -> None:
    if "label" not in table:
        only = ", ".join(table.columns)
        hint = " (commas separate columns)" if len(table.columns) == 1 else ""
        raise UserError(f"{path}: has no column named label, only {only}{hint}")


def _as_it_lies(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """With a column ``file``: else the first that names files that are there, as they are there.

    Blanks around a name, and ``\\`` between folders, are taken for what they are meant to be.
    """
    names = [name for name in table if name not in ("label", "is_valid")]
    names = ["file"] if "file" in names else names
    for name in names:
        found = table[name].map(lambda file: _on_disk(root, file))
        if found.notna().any():
            table[name] = found.where(found.notna(), table[name])
            return table.rename(columns={name: "file"})
    return table.rename(columns={names[0]: "file"})


def _on_disk(root: Path, file: str) -> str | None:
    """How a file is written where it lies; None where it is not there."""
    plain = file.strip()
    spellings = dict.fromkeys((file, plain, plain.replace("\\", "/")))
    return next((name for name in spellings if _is_there(root, name)), None)


def _is_there(root: Path, file: str) -> bool:
    return os.path.isfile(os.path.join(root, file))  # noqa: PTH113, PTH118  (a Path costs more)
