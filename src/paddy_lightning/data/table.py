"""Files on disk -> a table of pictures.

A table is a pandas frame with one row a picture: ``file`` (relative to the data set's folder,
with ``/``) and, where known, ``label``. What comes later (splits, predictions) adds columns.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.folders import read_classes, read_folders
from paddy_lightning.data.labels import labels_table, require_files
from paddy_lightning.data.listing import list_images, told
from paddy_lightning.errors import UserError

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
            from paddy_lightning.data import demo  # draws pictures: few need it

            return _open_kaggle(Source.demo, demo.generate(Path(config.root or DEMO_PLACE)))


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
    table = _usable(labels_table(path, folder).sort_values("file", ignore_index=True), path)
    require_files(path, folder, table["file"])
    return DataSet(config, folder, table)


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
    places = KAGGLE_PLACES if root is None else (root,)
    for place in map(Path, filter(os.path.isdir, places)):
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
    if root is not None and os.path.isdir(os.path.join(root, TRAIN_IMAGES)):  # noqa: PTH112, PTH118
        return Path(root)
    folders = kaggle_folders(root)
    if len(folders) > 1:
        raise UserError(
            f"there are several competitions: {', '.join(map(str, folders))}; say which, with"
            f" data.root={folders[0]}"
        )
    return folders[0] if folders else None
