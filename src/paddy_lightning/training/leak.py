"""Whether ``start=`` was trained on pictures that validate here: errors would flatter then."""

import logging
from pathlib import Path

import pandas as pd

from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.data.table import DataSet
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.images import ToPredict, trained_on
from paddy_lightning.runs.run_folder import folder_of
from paddy_lightning.runs.trained import load_checkpoint

log = logging.getLogger(__name__)
SPLIT = ("split", "split_seed", "fold", "folds", "group")  # knobs


def refuse_leak(config: TrainConfig, data: DataSet, table: pd.DataFrame) -> None:
    """Refuse to validate on pictures that ``start=`` was trained on.

    Its ``pictures.csv`` says which these were. A warning has to do where the data was elsewhere
    then, and names alone are alike; or where that table is gone, and the splits differ.

    Args:
        config: With ``start``.
        data: Where the pictures are.
        table: The pictures, split.

    Raises:
        UserError: Some are.
    """
    start = str(config.start)
    facts, folder = load_checkpoint(start)["hyper_parameters"], folder_of(Path(start))
    valid = table.loc[table["is_valid"], "file"]
    leaked = int(trained_on(folder, facts, ToPredict(data.root, valid, None)).sum())
    same_place = facts["data"] == plain(data.config)
    ours = plain(config)
    theirs = ours | facts.get("config", {})
    otherwise = [f"{name}={theirs[name]}" for name in SPLIT if theirs[name] != ours[name]]
    as_then = f" (it had {' '.join(otherwise)})" if otherwise else ""
    told = f"start={start}: was trained on {leaked} of the {len(valid)} pictures that validate here"
    if leaked and same_place:
        raise UserError(
            f"{told}, and its error would flatter; split as it did{as_then}, or leave out start="
        )
    if leaked:
        log.warning("%s, by their names; if they are the same, the error flatters", told)
    elif same_place and otherwise and not (folder / "pictures.csv").is_file():
        log.warning(
            "start=%s: was split in another way%s, and may have been trained on pictures that"
            " validate here: the error may flatter",
            *(start, as_then),
        )
