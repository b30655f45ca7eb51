"""Where the pictures of a trained network lie, also where it is used elsewhere than it was made."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from paddy_lightning.config import DataConfig, Source
from paddy_lightning.csv_tables import read_table
from paddy_lightning.errors import UserError
from paddy_lightning.listing import by_suffix, look_into, told
from paddy_lightning.submission import fits
from paddy_lightning.table import DataSet, kaggle_folders, open_data

log = logging.getLogger(__name__)


class ToPredict(NamedTuple):
    """Pictures that are to be predicted.

    Attributes:
        root: Their folder.
        files: Relative to it.
        sample: Kaggle's CSV of their ids, where there is one.
    """

    root: Path
    files: pd.Series
    sample: Path | None


def data_of(facts: dict[str, Any]) -> DataSet:
    """The data set that a network was trained on: where it lay then, or where it lies now.

    That is the same path from the folder one is in, as when a project was moved as a whole; or,
    for Kaggle's files, wherever they are found here; with the same classes. A drawn one is drawn
    here.

    Args:
        facts: Of its checkpoint.

    Raises:
        UserError: It is nowhere; of the place where it lay then.
    """
    then = DataConfig(**facts["data"])
    if then.source is Source.demo and not Path(str(then.root)).is_dir():
        return open_data(DataConfig(Source.demo))
    try:
        return open_data(then)
    except UserError as error:
        places = [_seen_from_here(then, facts["from"])] if "from" in facts else []
        if then.source is Source.paddy:
            name = Path(str(then.root)).name
            here = sorted(kaggle_folders(), key=lambda folder: folder.name != name)
            places += [DataConfig(Source.paddy, str(folder)) for folder in here]
        for place in places:
            with suppress(UserError):
                data = open_data(place)
                if set(facts["class_names"]) <= set(data.train["label"]):
                    log.info("the data is not in %s any more; taken from %s", then.root, data.root)
                    return data
        raise error


def _seen_from_here(then: DataConfig, start: str) -> DataConfig:
    """As far from the folder one is in now as it was from that where the training was started."""
    root, csv = (path and os.path.relpath(path, start) for path in (then.root, then.csv))
    return DataConfig(then.source, root, csv)


def find_images(images: str | Path | None, facts: dict[str, Any]) -> ToPredict:
    """What is to be predicted: the test set of a network's data, or what was named instead.

    Raises:
        UserError: There are no pictures.
    """
    if images is None:
        data = data_of(facts)
        if data.test_root is None:
            raise UserError(f"{data.config.root}: has no test pictures; name some with images=")
        return ToPredict(data.test_root, _listed(data.test_root), data.sample_submission)
    path = Path(images)
    if os.path.isfile(path):  # noqa: PTH113  (Path's raises where a folder above is closed)
        return ToPredict(path.parent, pd.Series([path.name]), None)
    files = _listed(path)
    return ToPredict(path, files, _sample_of(path, files, facts))


def trained_on(run: Path, facts: dict[str, Any], pictures: ToPredict) -> np.ndarray:
    """Which pictures are, by their paths, among those that a run trained on.

    The same file; or, since data moves, one with the same path from the data's folder on.

    Returns:
        bool [N]; all False where the run folder does not have its ``pictures.csv``.
    """
    files = pictures.files
    if not (run / "pictures.csv").is_file():
        return np.zeros(len(files), bool)
    table = read_table(run / "pictures.csv")
    trained = set(table.loc[table["is_valid"].str.lower() == "false", "file"])
    data = DataConfig(**facts["data"])
    then = Path(str(data.root)) / ("" if data.source is Source.folder else "train_images")
    the_same = {str((then / file).absolute()) for file in trained}
    depths = {file.count("/") for file in trained} - {0}  # a bare name is no sign

    def known(file: str) -> bool:
        path = (pictures.root / file).absolute()
        tails = ("/".join(path.parts[-depth - 1 :]) for depth in depths)
        return str(path) in the_same or any(tail in trained for tail in tails)

    return np.array([known(file) for file in files], bool)


def _listed(folder: Path) -> pd.Series:
    if not os.path.isdir(folder):  # noqa: PTH112
        raise UserError(f"images={folder}: not there")
    found = look_into(folder)
    others = told(by_suffix(found.others))
    if not found.pictures:
        more = f", but {others}" if others else ""
        raise UserError(f"images={folder}: no pictures in it{more}")
    for remark in [*([f"left out {others}"] if others else []), *found.remarks]:
        log.info("%s: %s", folder, remark)
    return pd.Series(found.pictures)


def _sample_of(folder: Path, files: pd.Series, facts: dict[str, Any]) -> Path | None:
    """The sample that asks for these very pictures: beside them, or of the network's data."""
    beside = folder.absolute().parent / "sample_submission.csv"
    if beside.is_file() and fits(files, beside):
        return beside
    if DataConfig(**facts["data"]).source is Source.paddy:
        with suppress(UserError):
            sample = data_of(facts).sample_submission
            return sample if sample and fits(files, sample) else None
    return None
