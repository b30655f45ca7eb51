"""Presized pictures in one file, so that no picture is decoded twice.

Epochs, runs and the jobs of a sweep share it. A cache belongs to one folder of pictures and one way
of presizing them: a file of pixels, and beside it an index of which picture lies where in it, made
of a file of which size and time of change. Pixels are only ever appended, and the index is
replaced whole once they are safe on the disk: whoever is killed, and whenever, leaves a cache that
is right.

Pixels are read with ``pread`` and not mapped: what is mapped counts as memory of the process.
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import threading
import uuid
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
from PIL import features

from paddy_lightning.atomic import remove_leftovers
from paddy_lightning.broken import find_broken, in_threads, problem_of
from paddy_lightning.errors import UserError
from paddy_lightning.presize import Presize, open_whole
from paddy_lightning.table import read_table, write_table

log = logging.getLogger(__name__)
FORMAT = 1  # to be raised when the same file would give other pixels
KEPT_FREE = 0.05  # of the disk
COMMIT = 512  # pictures
WHERE = ["offset", "height", "width"]
STAMP = ["bytes", "changed"]


def default_place() -> Path:
    """The user's folder for caches, by the XDG rules."""
    place = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(place).expanduser() / "paddy-lightning"


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


class Cache:
    """The presized pictures of one folder.

    Args:
        place: The folder of all caches.
        root: The folder of the pictures.
        presize: How they are opened.
        limit: Bytes that all caches together may take.
    """

    def __init__(self, place: Path, root: Path, presize: Presize, limit: float) -> None:
        self.place = place
        self.root = root.resolve()
        self.presize = presize
        self.limit = limit
        self.folder = place / _name(self.root, presize)

    def open(self, files: pd.Series) -> Kept | None:
        """What is kept of these files as they are now, a row a file; None where nothing is."""
        if (pixels := self._find()) is None:
            return None
        index = _read_index(pixels).reindex(files)
        stale = (index[STAMP] != _stamps(self.root, files)).any(axis=1)
        places = index[WHERE].fillna(-1).to_numpy(np.int64)
        places[stale.to_numpy(), 0] = -1
        try:
            os.utime(self.folder)  # says when it was last of use
            return Kept(pixels, places)
        except OSError:  # cleared just now, or not ours
            return None

    def fill(self, files: pd.Series, num_workers: int) -> pd.Series:
        """Presize what is not kept yet, and find on the way what is broken.

        Several processes take turns: the second finds what the first has kept. Where the disk or
        the limit leaves no room, the rest is only looked at, and one line says so.

        Args:
            files: Relative to the folder of the pictures, a row a picture.
            num_workers: Threads; decoding does not hold Python's lock.

        Returns:
            What is wrong, for the broken ones alone, by their row.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder):
                return self._fill(files, num_workers)
        except OSError as error:
            log.warning("cache: goes without, for %s; cache=FOLDER sets another place", error)
            return find_broken(self.root, files, num_workers)

    def _fill(self, files: pd.Series, num_workers: int) -> pd.Series:
        remove_leftovers(self.folder)
        stamps = _stamps(self.root, files)
        found = self._find()
        index = _read_index(found) if found else _empty_index()
        known = index.reindex(files)
        if (known["offset"].notna() & (known[STAMP] != stamps).any(axis=1)).any():
            found, index = None, _empty_index()  # a picture has changed: begin anew
        if found is None:
            _clear(self.folder)
        missing = files[~files.isin(index.index)]
        if missing.empty:
            log.info("cache: all pictures are in %s", self.folder)
            return pd.Series(dtype=object)
        pixels = found or self.folder / f"{uuid.uuid4().hex}.pixels"
        end = _end(index)
        room = self._make_room(end, len(missing))
        pixels.touch()
        with pixels.open("r+b") as file:  # not "ab", which pwrite would follow to the end
            file.truncate(end)  # what a killed process appended and did not name
            writer = _Writer(file.fileno(), end, room)
            problems, index = self._append(writer, pixels, index, missing, stamps, num_workers)
        log.info(
            "cache: %d pictures, %.1f GB, in %s; cache=off goes without",
            *(len(index), _end(index) / 1e9, self.folder),
        )
        if writer.full:
            told = (int(files.isin(index.index).sum()), len(files), writer.full)
            log.warning("cache: holds %d of %d pictures (%s); the others are decoded anew", *told)
        return problems

    def _append(
        self,
        writer: "_Writer",
        pixels: Path,
        index: pd.DataFrame,
        missing: pd.Series,
        stamps: pd.DataFrame,
        num_workers: int,
    ) -> tuple[pd.Series, pd.DataFrame]:
        """Write the missing pictures, and name them in the index as soon as they are safe.

        Returns:
            What is wrong, for the broken ones; and the index.
        """
        problems: dict[Hashable, str] = {}
        made: list[tuple[str, int, int, int]] = []

        def commit() -> pd.DataFrame:
            new = pd.DataFrame(made, columns=["file", *WHERE]).set_index("file").join(stamps)
            whole = pd.concat([index, new])
            try:
                os.fsync(writer.file)
                write_table(pixels.with_suffix(".index"), whole.reset_index())
            except OSError as error:
                writer.full = str(error)
            return whole

        keep = partial(writer.keep, self.root, self.presize)
        with closing(in_threads(keep, missing, num_workers, "presizing pictures")) as answers:
            try:
                for (row, file), answer in zip(missing.items(), answers, strict=True):
                    if isinstance(answer, str):
                        problems[row] = answer
                    elif answer is not None:
                        made.append((file, *answer))
                        if len(made) % COMMIT == 0:
                            commit()
            finally:  # Ctrl-C too
                index = commit()
        return pd.Series(problems, dtype=object), index

    def _find(self) -> Path | None:
        """The file of pixels that has an index."""
        indexes = [path.with_suffix(".pixels") for path in self.folder.glob("*.index")]
        return next((pixels for pixels in indexes if pixels.exists()), None)

    def _make_room(self, end: int, more: int) -> int:
        """Clear the caches that were longest of no use, as far as ``more`` pictures need it.

        Returns:
            How many bytes this one's pixels may have.
        """
        height, width = self.presize.size
        wanted = end + more * height * width * 3
        others = [lock.parent for lock in self.place.glob("*/lock") if lock.parent != self.folder]
        for other in [*sorted(others, key=lambda folder: folder.stat().st_mtime), None]:
            disk = shutil.disk_usage(self.place)
            spare = end + disk.free - KEPT_FREE * disk.total
            taken = sum(p.stat().st_size for o in others for p in o.glob("*.pixels"))
            room = int(min(self.limit - taken, spare))
            if other is None or room >= wanted:
                break
            with _locked(other, wait=False) as ours:
                if ours:
                    _clear(other)
        return max(0, room)


class _Writer:
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


def _name(root: Path, presize: Presize) -> str:
    """A folder's name for people, and all that the pixels depend on, hashed."""
    decoders = (PIL.__version__, features.version("jpg"), FORMAT)
    digest = hashlib.sha256(repr((os.fsencode(root), presize, decoders)).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", root.name)[:40]
    height, width = presize.size
    return f"{readable}-{presize.resize}-{height}x{width}-{digest[:12]}"


def _stamps(root: Path, files: pd.Series) -> pd.DataFrame:
    """Size and time of change of files, by their names; -1 where one is not there."""
    found = []
    for file in files:
        try:
            status = os.stat(f"{root}/{file}")  # noqa: PTH116  (a Path for each costs more)
            found.append((status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((-1, -1))
    return pd.DataFrame(found, pd.Index(files, name="file"), STAMP, dtype=np.int64)


def _empty_index() -> pd.DataFrame:
    columns = {name: pd.Series(dtype=np.int64) for name in (*WHERE, *STAMP)}
    return pd.DataFrame(columns, pd.Index([], name="file", dtype=str))


def _read_index(pixels: Path) -> pd.DataFrame:
    """``offset, height, width, bytes, changed`` by file; empty where it cannot be read."""
    try:
        return read_table(pixels.with_suffix(".index")).set_index("file").astype(np.int64)
    except (UserError, KeyError, ValueError):
        return _empty_index()


def _end(index: pd.DataFrame) -> int:
    """Where the pixels that an index names end."""
    return int((index["offset"] + index["height"] * index["width"] * 3).max()) if len(index) else 0


def _clear(folder: Path) -> None:
    for path in [*folder.glob("*.index"), *folder.glob("*.pixels")]:  # first what names the other
        path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
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
