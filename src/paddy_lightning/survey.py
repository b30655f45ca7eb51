"""What is wrong with a folder of pictures, before anything is trained on it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from paddy_lightning.errors import UserError
from paddy_lightning.presize import open_presized

PROBE = (8, 8)  # small, so that JPEGs are decoded at 1/8


def find_broken(root: Path, files: pd.Series, num_workers: int) -> pd.Series:
    """Decode every picture as training would, at the least cost that finds what is broken.

    Args:
        root: The folder that ``files`` are relative to.
        files: A row a picture.
        num_workers: Threads; decoding does not hold Python's lock.

    Returns:
        What is wrong, for the broken ones alone, by their row.
    """
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        answers = pool.map(partial(_problem, root), files)
        bar = tqdm(
            answers,
            "looking for broken pictures",
            len(files),
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        problems = pd.Series(list(bar), index=files.index, dtype=object)
    return problems.dropna()


def _problem(root: Path, file: str) -> str | None:
    try:
        open_presized(root / file, PROBE)
    except UserError as error:
        return str(error)
    return None
