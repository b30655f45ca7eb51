"""Where the data set of a run lies, also where its network is used elsewhere."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.table import DataSet, kaggle_folders, open_data
from paddy_lightning.errors import UserError

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


def _seen_from_here(then: DataConfig, start: str) -> DataConfig:
    """As far from the folder one is in now as it was from that where the training was started."""
    root, csv = (path and os.path.relpath(path, start) for path in (then.root, then.csv))
    return DataConfig(then.source, root, csv)
