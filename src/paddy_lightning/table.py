"""Files on disk -> a table of pictures.

A table is a pandas frame with one row a picture: ``file`` (relative to the data set's folder,
with ``/``) and, where known, ``label``. What comes later (splits, predictions) adds columns.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from paddy_lightning.atomic import written_whole
from paddy_lightning.config import DataConfig, Source
from paddy_lightning.errors import UserError
from paddy_lightning.folders import read_classes, read_folders
from paddy_lightning.formats import suffixes
from paddy_lightning.listing import list_images, told

KAGGLE_PLACES = ("data", "/kaggle/input")
TRAIN_IMAGES = "train_images"  # what tells Kaggle's layout
DEMO_PLACE = "data/demo"
OWN_COLUMNS = frozenset({"file", "label", "predicted", "confidence", "loss"})


@dataclass(frozen=True)
class DataSet:
    """Where the pictures of one task lie.

    Attributes:
        config: What finds it again, from any folder.
        root: The folder that the table's files are relative to.
        train: The table of labelled pictures, sorted by file; with ``is_valid`` where the data
            brings a split of its own.
        test_root: The folder of pictures without labels, where there is one.
        sample_submission: Kaggle's CSV of ids to predict, where there is one.
        left_out: How many files among the pictures are none that can be read, by suffix.
        remarks: What else a user should know of the folder, a line each.
    """

    config: DataConfig
    root: Path
    train: pd.DataFrame
    test_root: Path | None = None
    sample_submission: Path | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)


def open_data(config: DataConfig) -> DataSet:
    """The data set a config means; the demo's pictures are drawn if they are not there yet.

    Raises:
        UserError: No such folder, no pictures in it, or fewer than two classes.
    """
    if config.csv is not None:
        return _open_csv(Path(config.csv), config.root)
    match config.source:
        case Source.folder:
            if config.root is None:
                raise UserError(
                    "data=folder: say where, with data.root=FOLDER (one folder a class)"
                )
            return _open_folder(Path(config.root))
        case Source.paddy | Source.auto:
            folder = _find_kaggle(config.root)
            if folder is not None:
                return _open_kaggle(Source.paddy, folder)
            if config.source is Source.auto:
                source = Source.demo if config.root is None else Source.folder
                return open_data(DataConfig(source, config.root))
            where = config.root or " or ".join(KAGGLE_PLACES)
            raise UserError(f"{where}: no train_images/ there; data=paddy wants Kaggle's layout")
        case Source.demo:
            from paddy_lightning import demo  # draws pictures: few need it

            return _open_kaggle(Source.demo, demo.generate(Path(config.root or DEMO_PLACE)))


def csv_table(path: Path) -> pd.DataFrame:
    """A CSV of ``file`` and ``label``, and maybe ``is_valid`` and more.

    Raises:
        UserError: Not such a file, a gap, or a file named twice.
    """
    return _checked(path, read_table(path))


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    _require_label(path, table)
    for column in ("file", "label"):
        if gaps := int((table[column] == "").sum()):
            raise UserError(f"{path}: {gaps} rows have no {column}")
    if table["file"].str.contains("\0", regex=False).any():
        raise UserError(f"{path}: a name in its column of files has a zero byte, as no file has")
    if not (twice := table.loc[table["file"].map(os.path.normpath).duplicated(), "file"]).empty:
        raise UserError(f"{path}: {len(twice)} files are named twice, such as {twice.iloc[0]}")
    if "is_valid" in table:
        truths = {"true": True, "1": True, "false": False, "0": False}
        is_valid = table["is_valid"].str.lower().map(truths)
        if is_valid.isna().any():
            raise UserError(f"{path}: is_valid must be true or false (or 1 or 0) in every row")
        table["is_valid"] = is_valid.astype(bool)
    return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table as a CSV file, whole; any name a file system allows survives it."""
    texts = table.select_dtypes(exclude="number")
    # By itself csv puts no quotes around a lone carriage return, and readers end a line there.
    odd = any("\r" in str(text) for text in [*table.columns, *texts.to_numpy().flat])
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False, errors="surrogateescape", quoting=quoting)


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV file with every value as the text it is ("NA" is a class like others).

    Raises:
        UserError: There is none, or it is not such a table.
    """
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape", **options
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error
    if any("\0" in name for name in table.columns):
        raise UserError(f"{path}: cannot be read as a table (it is not in UTF-8; save it so)")
    return table


def describe(data: DataSet) -> str:
    """The first lines of every run: the data set, its folder, its counts, and what is odd."""
    test = f", {len(list_images(data.test_root))} to predict" if data.test_root else ""
    left_out = f", left out {told(data.left_out)}" if data.left_out else ""
    classes = data.train["label"].nunique()
    first = (
        f"data: {data.config.source} in {data.root}, {len(data.train)} pictures,"
        f" {classes} classes{test}{left_out}"
    )
    return "\n".join([first, *(f"data: {remark}" for remark in data.remarks)])


def _open_folder(root: Path) -> DataSet:
    """A tree of classes, or the trees of a split."""
    found = read_folders(root)
    return DataSet(
        DataConfig(Source.folder, str(root.absolute())),
        root,
        _usable(found.table, root, found.remarks),
        root / found.test if found.test else None,
        left_out=found.left_out,
        remarks=found.remarks,
    )


def _open_csv(path: Path, root: str | None) -> DataSet:
    folder = Path(root) if root is not None else path.parent
    config = DataConfig(Source.folder, str(folder.absolute()), str(path.absolute()))
    table = _checked(path, _as_it_lies(_tidied(path), folder))
    table = _usable(table.sort_values("file", ignore_index=True), path)
    if not any(_is_there(folder, file) for file in table["file"]):
        first = table["file"].iloc[0]
        more = [first + suffix for suffix in suffixes() if _is_there(folder, first + suffix)]
        hint = f"; {more[0]} is: write names with their suffixes" if more else ""
        raise UserError(
            f"{path}: none of its files is in {folder}, such as {first}{hint}; data.root= names"
            " their folder"
        )
    return DataSet(config, folder, table)


def _tidied(path: Path) -> pd.DataFrame:
    """Somebody's CSV, without blanks around names and labels, its own columns in lower case."""
    table = read_table(path)
    if table.columns.str.startswith(" ").any():
        table = read_table(path, skipinitialspace=True)
    if not isinstance(table.index, pd.RangeIndex):  # rows are longer than the header
        more, whole = table.index.nlevels, table.reset_index()
        if whole.iloc[:, -more:].eq("").all(axis=None):  # they end with commas
            table = whole.iloc[:, :-more].set_axis(table.columns, axis=1)
    ours = {"file", "label", "is_valid"}
    names = table.columns.str.strip()
    table.columns = [name.casefold() if name.casefold() in ours else name for name in names]
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


def _open_kaggle(source: Source, folder: Path) -> DataSet:
    root, test, sample = (
        folder / part for part in (TRAIN_IMAGES, "test_images", "sample_submission.csv")
    )
    found = read_classes(root)
    return DataSet(
        DataConfig(source, str(folder.absolute())),
        root,
        _usable(found.table, root, found.remarks),
        test if test.is_dir() else None,
        sample if sample.is_file() else None,
        found.left_out,
        found.remarks,
    )


def _usable(table: pd.DataFrame, where: Path, remarks: Iterable[str] = ()) -> pd.DataFrame:
    """The table itself.

    Raises:
        UserError: Nothing to tell apart, or class names that are columns of our own.
    """
    classes = set(table["label"])
    if len(classes) < 2:
        found = f"{len(table)} pictures in {len(classes)} classes"
        inner = {file.split("/")[1] for file in table["file"] if file.count("/") > 1}
        deeper = [where / label for label in classes if len(inner) > 1 and (where / label).is_dir()]
        hints = [f"did you mean data.root={folder}?" for folder in deeper]
        more = "".join(f"; {remark}" for remark in (*remarks, *hints))
        raise UserError(
            f"{where}: {found}; needs at least two, as in FOLDER/CLASS/picture.jpg{more}"
        )
    if clash := sorted(classes & OWN_COLUMNS):
        raise UserError(
            f"{where}: a class cannot be called {clash[0]}, which is a column of predictions.csv"
        )
    return table


def kaggle_folders(root: str | None = None) -> list[Path]:
    """Every folder that holds ``train_images``: at a place or up to two levels below it."""
    found: dict[Path, Path] = {}
    for place in map(Path, [root] if root is not None else KAGGLE_PLACES):
        for pattern in (TRAIN_IMAGES, f"*/{TRAIN_IMAGES}", f"*/*/{TRAIN_IMAGES}"):
            for folder in sorted(images.parent for images in place.glob(pattern)):
                below = folder.relative_to(place).parts
                hidden = any(part.startswith(".") for part in below)  # not all there yet
                if not hidden and TRAIN_IMAGES not in below:
                    found.setdefault(folder.resolve(), folder)
    found.pop(Path(DEMO_PLACE).resolve(), None)
    return list(found.values())


def _find_kaggle(root: str | None) -> Path | None:
    """The folder that holds ``train_images``.

    Raises:
        UserError: There are several.
    """
    if root is not None and (Path(root) / TRAIN_IMAGES).is_dir():
        return Path(root)
    folders = kaggle_folders(root)
    if len(folders) > 1:
        raise UserError(
            f"there are several competitions: {', '.join(map(str, folders))}; say which, with"
            f" data.root={folders[0]}"
        )
    return folders[0] if folders else None
