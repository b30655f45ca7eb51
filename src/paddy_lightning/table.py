"""Files on disk -> a table of pictures.

A table is a pandas frame with one row a picture: ``file`` (relative to the data set's folder,
with ``/``) and, where known, ``label``. What comes later (splits, predictions) adds columns.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from paddy_lightning.atomic import written_whole
from paddy_lightning.config import DataConfig, Source
from paddy_lightning.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
KAGGLE_PLACES = ("data", "/kaggle/input")
DEMO_PLACE = "data/demo"


@dataclass(frozen=True)
class DataSet:
    """Where the pictures of one task lie.

    Attributes:
        source: ``paddy``, ``folder`` or ``demo``.
        folder: Where it was found; what ``data.root=`` names.
        root: The folder of one folder a class.
        train: The table of labelled pictures, sorted by file.
        test_root: The folder of pictures without labels, where there is one.
        sample_submission: Kaggle's CSV of ids to predict, where there is one.
    """

    source: Source
    folder: Path
    root: Path
    train: pd.DataFrame
    test_root: Path | None = None
    sample_submission: Path | None = None


def open_data(config: DataConfig) -> DataSet:
    """The data set a config means; the demo's pictures are drawn if they are not there yet.

    Raises:
        UserError: No such folder, no pictures in it, or fewer than two classes.
    """
    match config.source:
        case Source.folder:
            if config.root is None:
                raise UserError(
                    "data=folder: say where, with data.root=FOLDER (one folder a class)"
                )
            root = Path(config.root)
            return DataSet(Source.folder, root, root, labelled_table(root))
        case Source.paddy | Source.auto:
            folder = _find_kaggle(config.root)
            if folder is not None:
                return _open_kaggle(Source.paddy, folder)
            if config.source is Source.auto and config.root is None:
                return open_data(DataConfig(Source.demo))
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
    table = pd.DataFrame({"file": files, "label": [Path(file).parts[0] for file in files]})
    classes = table["label"].nunique()
    if classes < 2:
        found = f"{len(table)} pictures in {classes} class folders"
        raise UserError(f"{root}: {found}; needs at least two, as in {root}/CLASS/picture.jpg")
    return table


def list_images(root: Path) -> list[str]:
    """Every picture below ``root`` by its suffix, relative to it, with ``/``, sorted by path."""
    found = [
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
    ]
    return sorted(found)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table as a CSV file, whole; any name a file system allows survives it."""
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False, errors="surrogateescape")


def read_table(path: Path) -> pd.DataFrame:
    """A table that ``write_table`` wrote, its names as they were ("NA" is a class like others).

    Raises:
        UserError: There is none, or it is not such a table.
    """
    names = dict.fromkeys(("file", "label", "group"), str)
    try:
        table = pd.read_csv(
            path, dtype=names, keep_default_na=False, encoding_errors="surrogateescape"
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error
    if "file" not in table:
        raise UserError(f"{path}: has no column named file")
    return table


def describe(data: DataSet) -> str:
    """The first line of every run: the data set, its folder and its counts."""
    test = f", {len(list_images(data.test_root))} to predict" if data.test_root else ""
    classes = data.train["label"].nunique()
    return (
        f"data: {data.source} in {data.root}, {len(data.train)} pictures, {classes} classes{test}"
    )


def _open_kaggle(source: Source, folder: Path) -> DataSet:
    root, test, sample = (
        folder / part for part in ("train_images", "test_images", "sample_submission.csv")
    )
    return DataSet(
        source,
        folder,
        root,
        labelled_table(root),
        test if test.is_dir() else None,
        sample if sample.is_file() else None,
    )


def _find_kaggle(root: str | None) -> Path | None:
    """The folder that holds ``train_images``: at a place or up to two levels below it."""
    for place in map(Path, [root] if root is not None else KAGGLE_PLACES):
        for pattern in ("train_images", "*/train_images", "*/*/train_images"):
            for found in sorted(place.glob(pattern)):
                if found.parent != Path(DEMO_PLACE):
                    return found.parent
    return None
