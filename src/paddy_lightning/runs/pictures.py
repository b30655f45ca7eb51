"""The pictures of a run, as its network opens them or as it goes on with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.choices import DataConfig
from paddy_lightning.data.cache import find_cache
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.data.table import DataSet, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.runs.trained import load_checkpoint, presize_of
from paddy_lightning.runs.whereabouts import data_of

NAMED = 3  # lost pictures in an error message
NOW_AT = "data.root=FOLDER says where they are now"


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
