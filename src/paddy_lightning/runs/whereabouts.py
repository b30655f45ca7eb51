"""Where the pictures of a run lie, also where it is used or gone on with elsewhere."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.cache import find_cache
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.data.table import DataSet, kaggle_folders, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.runs.trained import load_checkpoint, presize_of

log = logging.getLogger(__name__)


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
        places = []
        with suppress(KeyError, ValueError):  # of an old version; on another of Windows' drives
            places.append(_seen_from_here(then, facts["from"]))
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


def pictures_of(facts: dict[str, Any], files: pd.Series) -> Pictures:
    """Some of those pictures as the network opens them, from the cache where they are kept.

    Args:
        facts: Of its checkpoint.
        files: Relative to the data's folder.

    Raises:
        UserError: As ``data_of``.
    """
    root, presize, told = data_of(facts).root, presize_of(facts), facts["config"]
    cache = find_cache(told["cache"], root, presize, told["cache_gb"])
    no_labels = np.full(len(files), -1)
    return Pictures(root, files, no_labels, presize, cache.open(files) if cache else None)


def _seen_from_here(then: DataConfig, start: str) -> DataConfig:
    """As far from the folder one is in now as it was from that where the training was started."""
    root, csv = (path and os.path.relpath(path, start) for path in (then.root, then.csv))
    return DataConfig(then.source, root, csv)


NAMED = 3  # lost pictures in an error message


NOW_AT = "data.root=FOLDER says where they are now"


def open_again(run_dir: Path, config: DataConfig) -> DataSet:
    """The data set of a run that goes on, wherever that is started.

    Raises:
        UserError: It is not there any more.
    """
    best = run_dir / "checkpoints" / "best.ckpt"
    if not (config.root and Path(config.root).is_absolute()) and best.is_file():
        # Runs of earlier versions have what was typed in config.yaml, and what was found here.
        config = DataConfig(**load_checkpoint(best)["hyper_parameters"]["data"])
    try:
        return open_data(config)
    except UserError as error:
        raise UserError(f"{run_dir}: its pictures are not there ({error}); {NOW_AT}") from error


def refuse_lost(run_dir: Path, broken: pd.Series) -> None:
    """Refuse to go on without all the pictures a run began with.

    Raises:
        UserError: Some are gone or broken.
    """
    if not broken.empty:
        named = "; ".join(broken.iloc[:NAMED]) + ("; ..." if len(broken) > NAMED else "")
        raise UserError(f"{run_dir}: {len(broken)} of its pictures are lost ({named}); {NOW_AT}")
