"""Files on disk -> a table of pictures.

A table is a pandas frame with one row a picture: ``file`` (relative to the data set's folder,
with ``/``) and, where known, ``label``. What comes later (splits, predictions) adds columns.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from paddy_lightning.atomic import written_whole
from paddy_lightning.config import DataConfig, Source
from paddy_lightning.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
KAGGLE_PLACES = ("data", "/kaggle/input")
DEMO_PLACE = "data/demo"
TRAIN = "train"
VALID = ("valid", "val", "validation", "test")  # of a data set with a split of its own
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
    """

    config: DataConfig
    root: Path
    train: pd.DataFrame
    test_root: Path | None = None
    sample_submission: Path | None = None


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


def labelled_table(root: Path) -> pd.DataFrame:
    """One row a picture below ``root/<label>/``, sorted by path.

    Raises:
        UserError: No folder there, no pictures, or fewer than two classes.
    """
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; data.root= names a folder with one folder a class"
        )
    files = [file for file in list_images(root) if "/" in file]
    return pd.DataFrame({"file": files, "label": [Path(file).parts[0] for file in files]})


def ready_table(root: Path, valid: str) -> pd.DataFrame:
    """The two trees ``root/train/<label>/`` and ``root/<valid>/<label>/`` as one table."""
    parts = [
        labelled_table(root / part).assign(is_valid=part != TRAIN, part=part)
        for part in (TRAIN, valid)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["file"] = table.pop("part") + "/" + table["file"]
    return table.sort_values("file", ignore_index=True)


def csv_table(path: Path) -> pd.DataFrame:
    """A CSV of ``file`` (or its first column) and ``label``, and maybe ``is_valid`` and more.

    Raises:
        UserError: Not such a file, a gap, or a file named twice.
    """
    table = read_table(path)
    if "file" not in table:
        table = table.rename(columns={table.columns[0]: "file"})
    if "label" not in table:
        raise UserError(f"{path}: has no column named label, only {', '.join(table.columns)}")
    for column in ("file", "label"):
        if gaps := int((table[column] == "").sum()):
            raise UserError(f"{path}: {gaps} rows have no {column}")
    if not (twice := table.loc[table["file"].duplicated(), "file"]).empty:
        raise UserError(f"{path}: {len(twice)} files are named twice, such as {twice.iloc[0]}")
    if "is_valid" in table:
        truths = {"true": True, "1": True, "false": False, "0": False}
        is_valid = table["is_valid"].str.lower().map(truths)
        if is_valid.isna().any():
            raise UserError(f"{path}: is_valid must be true or false (or 1 or 0) in every row")
        table["is_valid"] = is_valid.astype(bool)
    return table


def list_images(root: Path) -> list[str]:
    """Every picture below ``root`` by its suffix, relative to it, with ``/``, sorted by path."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        # Such as .ipynb_checkpoints, with its copies of pictures.
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [
            Path(folder, name).relative_to(root).as_posix()
            for name in names
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
        ]
    return sorted(found)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table as a CSV file, whole; any name a file system allows survives it."""
    texts = table.select_dtypes(exclude="number")
    # By itself csv puts no quotes around a lone carriage return, and readers end a line there.
    odd = any("\r" in str(text) for text in [*table.columns, *texts.to_numpy().flat])
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False, errors="surrogateescape", quoting=quoting)


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file with every value as the text it is ("NA" is a class like others).

    Raises:
        UserError: There is none, or it is not such a table.
    """
    try:
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape"
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error


def describe(data: DataSet) -> str:
    """The first line of every run: the data set, its folder and its counts."""
    test = f", {len(list_images(data.test_root))} to predict" if data.test_root else ""
    classes = data.train["label"].nunique()
    return (
        f"data: {data.config.source} in {data.root}, {len(data.train)} pictures,"
        f" {classes} classes{test}"
    )


def _open_folder(root: Path) -> DataSet:
    """A tree of classes, or the trees ``train`` and ``valid`` (or ``val``, or ``test``)."""
    config = DataConfig(Source.folder, str(root.absolute()))
    valid = next((name for name in VALID if (root / name).is_dir()), None)
    if not (root / TRAIN).is_dir() or valid is None:
        return DataSet(config, root, _usable(labelled_table(root), root))
    test = root / "test" if valid != "test" and (root / "test").is_dir() else None
    return DataSet(config, root, _usable(ready_table(root, valid), root), test)


def _open_csv(path: Path, root: str | None) -> DataSet:
    folder = Path(root) if root is not None else path.parent
    config = DataConfig(Source.folder, str(folder.absolute()), str(path.absolute()))
    table = csv_table(path).sort_values("file", ignore_index=True)
    return DataSet(config, folder, _usable(table, path))


def _open_kaggle(source: Source, folder: Path) -> DataSet:
    root, test, sample = (
        folder / part for part in ("train_images", "test_images", "sample_submission.csv")
    )
    return DataSet(
        DataConfig(source, str(folder.absolute())),
        root,
        _usable(labelled_table(root), root),
        test if test.is_dir() else None,
        sample if sample.is_file() else None,
    )


def _usable(table: pd.DataFrame, where: Path) -> pd.DataFrame:
    """The table itself.

    Raises:
        UserError: Nothing to tell apart, or class names that are columns of our own.
    """
    classes = set(table["label"])
    if len(classes) < 2:
        found = f"{len(table)} pictures in {len(classes)} classes"
        raise UserError(f"{where}: {found}; needs at least two, as in FOLDER/CLASS/picture.jpg")
    if clash := sorted(classes & OWN_COLUMNS):
        raise UserError(
            f"{where}: a class cannot be called {clash[0]}, which is a column of predictions.csv"
        )
    return table


def _find_kaggle(root: str | None) -> Path | None:
    """The folder that holds ``train_images``: at a place or up to two levels below it."""
    for place in map(Path, [root] if root is not None else KAGGLE_PLACES):
        for pattern in ("train_images", "*/train_images", "*/*/train_images"):
            for found in sorted(place.glob(pattern)):
                hidden = found.relative_to(place).as_posix().startswith(".")  # not all there yet
                if found.parent != Path(DEMO_PLACE) and not hidden:
                    return found.parent
    return None
