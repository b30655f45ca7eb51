"""The pictures of a run: presized or looked at, those that can be read, and split."""

import logging
from pathlib import Path

import pandas as pd

from paddy_lightning.choices import BadImages
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.broken import find_broken
from paddy_lightning.data.cache import Cache, find_cache
from paddy_lightning.data.listing import some
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.split import split_table
from paddy_lightning.data.table import DataSet
from paddy_lightning.data.workers import cores_to_use
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
NAMED = 3  # broken pictures in an error message


def cache_of(config: TrainConfig, root: Path) -> Cache | None:
    """Where the presized pictures of a folder are kept; None without a cache."""
    presize = Presize(config.presize, config.resize, config.pad_mode, config.draft)
    return find_cache(config.cache, root, presize, config.cache_gb)


def presize_all(config: TrainConfig, root: Path, files: pd.Series) -> pd.Series:
    """Presize and keep what is not kept yet, or without a cache only look at it.

    Returns:
        What is wrong, for the broken files alone, by their row.
    """
    if any(ours < asked for ours, asked in zip(config.presize, config.size, strict=True)):
        (height, width), (more, wider) = config.presize, config.size
        log.info(
            "size: %dx%d is larger than presize=%dx%d: pictures are enlarged, and show no more;"
            " presize=%dx%d does",
            *(more, wider, height, width, max(height, more), max(width, wider)),
        )
    cores = cores_to_use(config.num_workers)
    cache = cache_of(config, root)
    return cache.fill(files, cores) if cache else find_broken(root, files, cores)


def split_readable(config: TrainConfig, data: DataSet) -> pd.DataFrame:
    """The pictures that can be read, with the column ``is_valid``.

    Raises:
        UserError: Some cannot, unless they are to be skipped; or the split is not possible.
    """
    table = data.train
    broken = presize_all(config, data.root, table["file"])
    if not broken.empty and config.bad_images is BadImages.refuse:
        named = "; ".join(broken.iloc[:NAMED]) + ("; ..." if len(broken) > NAMED else "")
        raise UserError(
            f"{len(broken)} pictures are broken; mend them or set bad_images=skip: {named}"
        )
    if not broken.empty:
        log.warning("%d broken pictures are skipped:", len(broken))
        for problem in broken:
            log.warning("  %s", problem)
        table = table.drop(index=broken.index).reset_index(drop=True)
        if gone := sorted(set(data.train["label"]) - set(table["label"])):
            log.warning("no picture of %d classes can be read: %s", len(gone), some(gone))
        if table["label"].nunique() < 2:
            raise UserError(f"{data.root}: fewer than two classes are left without them")
    return split_table(table, data.root, **config.split_knobs())
