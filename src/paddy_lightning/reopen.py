"""The pictures of a run that goes on, wherever they are now."""

from pathlib import Path

import pandas as pd

from paddy_lightning.config import DataConfig
from paddy_lightning.errors import UserError
from paddy_lightning.predict import load_checkpoint
from paddy_lightning.table import DataSet, open_data

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
