"""The pictures that are to be predicted, and which of them the network was trained on."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.listing import by_suffix, look_into, told
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.submission import fits
from paddy_lightning.runs.whereabouts import data_of

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


def find_images(images: str | Path | None, facts: dict[str, Any]) -> ToPredict:
    """What is to be predicted: the test set of a network's data, or what was named instead.

    Raises:
        UserError: There are no pictures.
    """
    if images is None:
        if facts["data"]["root"] is None:  # an exported network, away from its run
            raise UserError("say which pictures, with images=; this file does not lie in a run")
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
