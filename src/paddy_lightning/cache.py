"""Presized pictures of one folder, so that no picture is decoded twice.

Epochs, runs and the jobs of a sweep share them. A cache belongs to one folder of pictures and one
way of presizing them; ``pixels.py`` has its files.
"""

import hashlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Hashable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
from PIL import features

from paddy_lightning.broken import find_broken, in_threads
from paddy_lightning.csv_tables import write_table
from paddy_lightning.pixels import (
    STAMP,
    WHERE,
    Kept,
    Writer,
    clear,
    empty_index,
    end_of,
    file_stamps,
    locked,
    read_index,
)
from paddy_lightning.presize import Presize

log = logging.getLogger(__name__)
FORMAT = 1  # to be raised when the same file would give other pixels
KEPT_FREE = 0.05  # of the disk
COMMIT = 512  # pictures


def default_place() -> Path:
    """The user's folder for caches, by the XDG rules."""
    place = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(place).expanduser() / "paddy-lightning"


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
        index = read_index(pixels).reindex(files)
        stale = (index[STAMP] != file_stamps(self.root, files)).any(axis=1)
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
            with locked(self.folder):
                return self._fill(files, num_workers)
        except OSError as error:
            log.warning("cache: goes without, for %s; cache=FOLDER sets another place", error)
            return find_broken(self.root, files, num_workers)

    def _fill(self, files: pd.Series, num_workers: int) -> pd.Series:
        for half in self.folder.glob(".*.index.*.part"):  # of a killed process: the lock is ours
            half.unlink(missing_ok=True)
        stamps = file_stamps(self.root, files)
        found = self._find()
        index = read_index(found) if found else empty_index()
        known = index.reindex(files)
        if (known["offset"].notna() & (known[STAMP] != stamps).any(axis=1)).any():
            found, index = None, empty_index()  # a picture has changed: begin anew
        if found is None:
            clear(self.folder)
        missing = files[~files.isin(index.index)]
        if missing.empty:
            log.info("cache: all pictures are in %s", self.folder)
            return pd.Series(dtype=object)
        pixels = found or self.folder / f"{uuid.uuid4().hex}.pixels"
        end = end_of(index)
        room = self._make_room(end, len(missing))
        pixels.touch()
        with pixels.open("r+b") as file:  # not "ab", which pwrite would follow to the end
            file.truncate(end)  # what a killed process appended and did not name
            writer = Writer(file.fileno(), end, room)
            problems, index = self._append(writer, pixels, index, missing, stamps, num_workers)
        log.info(
            "cache: %d pictures, %.2g GB, in %s; cache=off goes without",
            *(len(index), end_of(index) / 1e9, self.folder),
        )
        if writer.full:
            told = (int(files.isin(index.index).sum()), len(files), writer.full)
            log.warning("cache: holds %d of %d pictures (%s); the others are decoded anew", *told)
        return problems

    def _append(
        self,
        writer: "Writer",
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
            with locked(other, wait=False) as ours:
                if ours:
                    clear(other)
        return max(0, room)


def _name(root: Path, presize: Presize) -> str:
    """A folder's name for people, and all that the pixels depend on, hashed."""
    decoders = (PIL.__version__, features.version("jpg"), FORMAT)
    digest = hashlib.sha256(repr((os.fsencode(root), presize, decoders)).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", root.name)[:40]
    height, width = presize.size
    return f"{readable}-{presize.resize}-{height}x{width}-{digest[:12]}"
