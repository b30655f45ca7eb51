"""The two files of a cache: pixels, one picture after the other, and an index of them.

The index says which picture lies where, and of which size and time of change its file was. Pixels
are only ever appended, and the index is replaced whole once they are safe on the disk: whoever is
killed, and whenever, leaves what is right.

Pixels are read with ``pread`` and not mapped: what is mapped counts as memory of the process.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.broken import problem_of
from paddy_lightning.csv_tables import read_table
from paddy_lightning.errors import UserError
from paddy_lightning.presize import Presize, open_whole

log = logging.getLogger(__name__)
WHERE = ["offset", "height", "width"]
STAMP = ["bytes", "changed"]


class Kept:
    """Pictures of a cache, by their row in a table.

    Args:
        pixels: The file of pixels.
        places: int64 [N, 3], offset, height and width of each picture; offset -1 where it is not
            kept.
    """

    def __init__(self, pixels: Path, places: np.ndarray) -> None:
        self.pixels = pixels
        self.places = places
        self._file: Any = pixels.open("rb", buffering=0)

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is not forked opens the file anew."""
        return self.__dict__ | {"_file": None}

    def read(self, row: int) -> np.ndarray | None:
        """uint8 [height, width, 3] as ``open_whole`` made it, or None where it is not kept."""
        offset, height, width = self.places[row].tolist()
        if offset < 0:
            return None
        picture = np.empty((height, width, 3), np.uint8)
        try:
            self._file = self._file or self.pixels.open("rb", buffering=0)
            whole = os.preadv(self._file.fileno(), [picture.data], offset) == picture.nbytes
        except OSError:  # it is only a cache
            return None
        return picture if whole else None


class Writer:
    """Appends pictures to a file of pixels, from several threads.

    Args:
        file: Its descriptor.
        end: Where to go on.
        room: How many bytes it may have.

    Attributes:
        full: Why no more pictures are kept; empty as long as they are.
    """

    def __init__(self, file: int, end: int, room: int) -> None:
        self.file = file
        self.end = end
        self.room = room
        self.full = ""
        self._turn = threading.Lock()

    def keep(self, root: Path, presize: Presize, file: str) -> tuple[int, int, int] | str | None:
        """Presize a file and append it.

        Returns:
            Its place (offset, height, width), or why it is broken, or None where there was no
            room for it.
        """
        if self.full:
            return problem_of(root, file)
        try:
            picture = open_whole(root / file, presize)
        except UserError as error:
            return str(error)
        with self._turn:
            offset = self.end
            if offset + picture.nbytes > self.room:
                self.full = self.full or "no more room; cache_gb= and cache=FOLDER set it"
                return None
            self.end += picture.nbytes
        try:
            view = picture.data.cast("B")
            while view:
                view = view[os.pwrite(self.file, view, offset + picture.nbytes - len(view)) :]
        except OSError as error:
            self.full = self.full or str(error)
            return None
        return offset, *picture.shape[:2]


def file_stamps(root: Path, files: pd.Series) -> pd.DataFrame:
    """Size and time of change of files, by their names; -1 where one is not there."""
    found = []
    for file in files:
        try:
            status = os.stat(f"{root}/{file}")  # noqa: PTH116  (a Path for each costs more)
            found.append((status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((-1, -1))
    return pd.DataFrame(found, pd.Index(files, name="file"), STAMP, dtype=np.int64)


def empty_index() -> pd.DataFrame:
    """``offset, height, width, bytes, changed`` by file, of none."""
    columns = {name: pd.Series(dtype=np.int64) for name in (*WHERE, *STAMP)}
    return pd.DataFrame(columns, pd.Index([], name="file", dtype=str))


def read_index(pixels: Path) -> pd.DataFrame:
    """``offset, height, width, bytes, changed`` by file; empty where it cannot be read."""
    try:
        return read_table(pixels.with_suffix(".index")).set_index("file").astype(np.int64)
    except (UserError, KeyError, ValueError):
        return empty_index()


def end_of(index: pd.DataFrame) -> int:
    """Where the pixels that an index names end."""
    return int((index["offset"] + index["height"] * index["width"] * 3).max()) if len(index) else 0


def clear(folder: Path) -> None:
    """Remove a cache's files, and nothing else."""
    for path in [*folder.glob("*.index"), *folder.glob("*.pixels")]:  # first what names the other
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Have a cache to oneself, or, without ``wait``, learn that another process has it."""
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            log.info("cache: waits for another run that fills it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True
