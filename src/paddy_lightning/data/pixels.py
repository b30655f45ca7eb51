"""The two files of a cache: pixels, one picture after the other, and an index of them.

The index says which picture lies where, and what its file was then. Pixels are only ever appended,
and the index is replaced whole once they are safe on the disk: whoever is killed, and whenever,
leaves what is right.

Pixels are read at their offsets and not mapped: what is mapped counts as memory of the process,
and on Windows nobody can cut it.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from paddy_lightning.csv_tables import read_table, write_table
from paddy_lightning.data.broken import problem_of
from paddy_lightning.data.presize import Presize, open_whole
from paddy_lightning.data.room import Room, hold
from paddy_lightning.errors import UserError

WHERE = ["offset", "height", "width"]
CONTENT = ["bytes", "changed"]
# Both can be as they were although the pixels are others. The time when anything of a file changed
# cannot be set back, and its number tells two folders that change their names. Data that were
# copied or restored are presized anew, and that is all.
STAMP = [*CONTENT, "touched", "number"]
COMMIT = 512  # pictures
Place = tuple[int, int, int]


class Kept:
    """Pictures of a cache, by their row in a table; no other process clears it meanwhile.

    Args:
        pixels: The file of pixels.
        places: int64 [N, 3], offset, height and width of each picture; offset -1 where it is not
            kept.

    Raises:
        OSError: The file was cleared just now, or cannot be read.
    """

    def __init__(self, pixels: Path, places: np.ndarray) -> None:
        self.pixels = pixels
        self.places = places
        self._file: BinaryIO | None = hold(pixels)

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is not forked opens the file anew."""
        return self.__dict__ | {"_file": None}

    def has(self, row: int) -> bool:
        """Whether the picture of a row is kept."""
        return bool(self.places[row, 0] >= 0)

    def read(self, row: int) -> np.ndarray | None:
        """uint8 [height, width, 3] as ``open_whole`` made it, or None where it is not kept."""
        offset, height, width = self.places[row].tolist()
        if offset < 0:
            return None
        picture = np.empty((height, width, 3), np.uint8)
        try:
            self._file = self._file or hold(self.pixels)
            whole = _read_at(self._file, picture, offset) == picture.nbytes
        except OSError:  # it is only a cache
            return None
        return picture if whole else None


class Index:
    """Which picture lies where in a file of pixels, and the stamp its file had.

    Args:
        pixels: The file of pixels; it may have no index yet, or one that cannot be read.

    Attributes:
        table: int64 ``offset, height, width`` and the stamp, by file.
    """

    def __init__(self, pixels: Path) -> None:
        self.path = pixels.with_suffix(".index")
        self.table = self._read()
        self._added: list[tuple[str, int, int, int]] = []

    @property
    def end(self) -> int:
        """Where the pixels that are named end."""
        end = self.table["offset"] + self.table["height"] * self.table["width"] * 3
        return int(end.max()) if len(end) else 0

    def places(self, stamps: pd.DataFrame) -> np.ndarray:
        """int64 [N, 3] as ``Kept`` takes them: of files as they are now, by their stamps."""
        known = self.table.reindex(
            stamps.index, fill_value=-1
        )  # and not nan: floats are too coarse
        same = (known[STAMP] == stamps).all(axis=1) & (stamps["bytes"] >= 0)
        return np.where(same.to_numpy()[:, None], known[WHERE], -1)

    def has_changed(self, stamps: pd.DataFrame) -> bool:
        """Whether a file that is named has another stamp now."""
        known = self.table.reindex(stamps.index, fill_value=-1)
        return bool(((known[STAMP] != stamps).any(axis=1) & (known["offset"] >= 0)).any())

    def add(self, file: str, place: Place) -> int:
        """Note where a picture lies, for the next ``commit``; says how many are noted."""
        self._added.append((file, *place))
        return len(self._added)

    def commit(self, descriptor: int, stamps: pd.DataFrame) -> None:
        """Name what was added, once its pixels are safe on the disk.

        Args:
            descriptor: Of the file of pixels.
            stamps: Of all files, as they were before they were opened.

        Raises:
            OSError: The disk is full, or not there; nothing is named then.
        """
        added = pd.DataFrame(self._added, columns=["file", *WHERE]).set_index("file").join(stamps)
        table = pd.concat([self.table, added])
        os.fsync(descriptor)
        write_table(self.path, table.reset_index())
        self.table, self._added = table, []

    def _read(self) -> pd.DataFrame:
        columns = [*WHERE, *STAMP]
        with suppress(UserError, KeyError, ValueError, OverflowError):
            table = read_table(self.path).set_index("file")[columns].astype(np.int64)
            if table.index.is_unique and (table[WHERE].to_numpy() >= (0, 1, 1)).all():
                return table
        return pd.DataFrame(columns=columns, index=pd.Index([], name="file", dtype=str), dtype=int)


class Writer:
    """Appends pictures to a file of pixels, from several threads.

    Args:
        pixels: The file of pixels.
        file: The same, open and not buffered.
        index: Of it.
        room: What it may take.
        expected: Bytes that are to come.

    Attributes:
        full: Why no more pictures are kept; empty as long as they are.
    """

    def __init__(
        self, pixels: Path, file: BinaryIO, index: Index, room: Room, expected: int
    ) -> None:
        self.pixels = pixels
        self.file = file
        self.index = index
        self.room = room
        self.full = ""
        self.end = self.size = index.end
        self.last = index.end + expected
        self._turn = threading.Lock()
        file.truncate(self.end)  # what a killed process appended and did not name

    def keep(self, root: Path, presize: Presize, file: str) -> Place | str | None:
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
        try:
            if (offset := self._take(picture.nbytes)) is None:
                return None
            self._write(picture.data.cast("B"), offset)
        except OSError as error:
            self.full = self.full or str(error)
            return None
        return offset, *picture.shape[:2]

    def name(self, file: str, place: Place, stamps: pd.DataFrame) -> None:
        """Note where a picture is kept; from time to time that is made safe."""
        if self.index.add(file, place) >= COMMIT:
            self.commit(stamps)

    def commit(self, stamps: pd.DataFrame) -> None:
        """Make safe what was noted."""
        try:
            self.index.commit(self.file.fileno(), stamps)
        except OSError as error:
            self.full = str(error)

    def close(self) -> None:
        """Give back the room that was not needed."""
        self.file.truncate(self.end)

    def _write(self, content: memoryview, offset: int) -> None:
        """All of it; in turn, as a file has one position and Windows no ``pwrite``."""
        with self._turn:
            self.file.seek(offset)
            while content:
                content = content[self.file.write(content) :]

    def _take(self, length: int) -> int | None:
        """Where a picture may be written; None where there is no room for it."""
        with self._turn:
            if (short := self.end + length - self.size) > 0:
                self.size = self.room.extend(self.pixels, self.size, self.last - self.size, short)
            if self.end + length > self.size:
                self.full = self.full or "no more room; cache_gb= and cache=FOLDER set it"
                return None
            self.end += length
            return self.end - length


def file_stamps(root: Path, files: pd.Series) -> pd.DataFrame:
    """The stamps of files, by their names; -1 where one is not there."""
    found: list[tuple[int, ...]] = []
    for file in files:
        try:
            status = os.stat(os.path.join(root, file))  # noqa: PTH116, PTH118  (Paths cost more)
        except (OSError, ValueError):
            found.append((-1, -1, -1, -1))
            continue
        times = status.st_mtime_ns, status.st_ctime_ns
        # Some file systems have numbers of 64 bits, and times beyond the year 2262.
        found.append(tuple(n % 2**63 for n in (status.st_size, *times, status.st_ino)))
    return pd.DataFrame(found, pd.Index(files, name="file"), STAMP, dtype=np.int64)


if sys.platform == "win32":
    _TURN = threading.Lock()

    def _read_at(file: BinaryIO, into: np.ndarray, offset: int) -> int:
        with _TURN:  # threads share the file and its position
            file.seek(offset)
            return file.readinto(into.data)  # type: ignore[attr-defined]  # not buffered

else:

    def _read_at(file: BinaryIO, into: np.ndarray, offset: int) -> int:
        return os.preadv(file.fileno(), [into.data], offset)  # forked workers share it, too
