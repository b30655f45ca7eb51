"""Which files cannot be read as pictures, before a run meets them in the middle of an epoch."""

import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from paddy_lightning.data.presize import Presize, open_whole
from paddy_lightning.errors import UserError

PROBE = Presize((8, 8))  # small, so that JPEGs are decoded at 1/8
AT_ONCE = 1000  # files that wait for a thread; each takes memory
T = TypeVar("T")


def find_broken(root: Path, files: pd.Series, num_workers: int) -> pd.Series:
    """Decode every picture as training would, at the least cost that finds what is broken.

    Args:
        root: The folder that ``files`` are relative to.
        files: A row a picture.
        num_workers: Threads; decoding does not hold Python's lock.

    Returns:
        What is wrong, for the broken ones alone, by their row.
    """
    problems = list(in_threads(partial(problem_of, root), files, num_workers, "broken pictures"))
    return pd.Series(problems, index=files.index, dtype=object).dropna()


def problem_of(root: Path, file: str) -> str | None:
    """Why a file cannot be read as a picture, or None."""
    try:
        open_whole(root / file, PROBE)
    except UserError as error:
        return str(error)
    return None


def in_threads(
    function: Callable[[str], T], files: pd.Series, num_workers: int, about: str
) -> Generator[T]:
    """``map`` over files, in threads, in order, with a bar on a terminal; stops when it is left."""
    pool = ThreadPoolExecutor(max(1, num_workers))
    try:
        starts = range(0, len(files), AT_ONCE)
        answers = (
            a for start in starts for a in pool.map(function, files[start : start + AT_ONCE])
        )
        yield from tqdm(answers, about, len(files), leave=False, disable=not sys.stderr.isatty())
    finally:
        pool.shutdown(cancel_futures=True)
