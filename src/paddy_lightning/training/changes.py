"""Pictures that somebody changes while a run reads them: its numbers cannot be had again."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.pixels import CONTENT, file_stamps

log = logging.getLogger(__name__)
NAMED = 3


@contextmanager
def told_of_changes(datamodule: PaddyDataModule) -> Iterator[None]:
    """Say which pictures, of those that were not presized before, were changed during the block."""
    pictures = datamodule.pictures
    names = [os.fsdecode(file) for file in pictures.files]
    files = pd.Series([names[row] for row in pictures.decoded_anew()], dtype=object)
    before = file_stamps(Path(pictures.root), files)[CONTENT]
    yield
    after = file_stamps(Path(pictures.root), files)[CONTENT]
    changed = files[(after != before).any(axis=1).to_numpy()]
    if len(changed):
        log.warning(
            "%d pictures changed while the run went on, and its numbers cannot be had again: %s",
            *(len(changed), ", ".join(changed[:NAMED])),
        )
