"""Presized pictures of one folder, so that no picture is decoded twice.

Epochs, runs and the jobs of a sweep share them. A cache belongs to one folder of pictures and one
way of presizing them; ``pixels.py`` has its files, ``room.py`` how much they may take.
"""

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Hashable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pandas as pd
import PIL
from PIL import features

from paddy_lightning.choices import OFF
from paddy_lightning.data.broken import find_broken, in_threads
from paddy_lightning.data.pixels import Index, Kept, Writer, file_stamps
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.room import OURS, Room, clear, locked
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
FORMAT = 1  # to be raised when the same file would give other pixels


def default_place() -> Path:
    """The user's folder for caches, by the XDG rules.

    Raises:
        UserError: The user has no home, as in some containers.
    """
    place = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(place).expanduser() / "paddy-lightning"
    except RuntimeError as error:
        raise UserError(f"cache: {error}; cache=FOLDER sets a place, cache=off none") from error


def find_cache(place: str | None, root: Path, presize: Presize, limit_gb: float) -> "Cache | None":
    """The cache of a folder of pictures.

    Args:
        place: The folder of all caches; None for the user's, ``off`` for no cache.
        root: The folder of the pictures.
        presize: How they are opened.
        limit_gb: What all caches together may take, in units of 10^9 bytes.

    Raises:
        UserError: The user has no home, as in some containers.
    """
    if place == OFF:
        return None
    folder = Path(place).expanduser() if place else default_place()
    return Cache(folder, root, presize, limit_gb * 1e9)


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
        places = Index(pixels).places(file_stamps(self.root, files))
        with suppress(OSError):  # may be another user's
            os.utime(self.folder)  # says when it was last of use
        try:
            return Kept(pixels, places)
        except OSError:  # cleared just now
            return None

    def fill(self, files: pd.Series, num_workers: int) -> pd.Series:
        """Presize what is not kept yet, and find on the way what is broken.

        Several processes take turns: the second finds what the first has kept. Where the disk or
        the limit leaves no room, the rest is only looked at, and one line says so.

        Args:
            files: Relative to the folder of the pictures, or absolute, a row a picture.
            num_workers: Threads; decoding does not hold Python's lock.

        Returns:
            What is wrong, for the broken ones alone, by their row.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder, notice="cache: waits for another run that fills it"):
                return self._fill(files, num_workers)
        except OSError as error:
            log.warning("cache: goes without, for %s; cache=FOLDER sets another place", error)
            return find_broken(self.root, files, num_workers)

    def _fill(self, files: pd.Series, num_workers: int) -> pd.Series:
        for half in self.folder.glob(".*.index.*.part"):  # of a killed process: the lock is ours
            half.unlink(missing_ok=True)
        stamps = file_stamps(self.root, files)
        pixels, index = self._sound(stamps)
        missing = files[~files.isin(index.table.index)]
        if missing.empty:
            log.info("cache: all pictures are in %s", self.folder)
            return pd.Series(dtype=object)
        height, width = self.presize.size
        room = Room(self.place, self.limit)
        with pixels.open("r+b", buffering=0) as file:
            writer = Writer(pixels, file, index, room, expected=len(missing) * height * width * 3)
            try:
                problems = self._append(writer, missing, stamps, num_workers)
            finally:
                writer.close()
        log.info(
            "cache: %d pictures, %.2g GB, in %s; cache=off goes without",
            *(len(index.table), index.end / 1e9, self.folder),
        )
        if writer.full:
            told = (int(files.isin(index.table.index).sum()), len(files), writer.full)
            log.warning("cache: holds %d of %d pictures (%s); the others are decoded anew", *told)
        return problems

    def _append(
        self, writer: Writer, missing: pd.Series, stamps: pd.DataFrame, num_workers: int
    ) -> pd.Series:
        """Write the missing pictures; what is wrong, for the broken ones."""
        problems: dict[Hashable, str] = {}
        keep = partial(writer.keep, self.root, self.presize)
        with closing(in_threads(keep, missing, num_workers, "presizing pictures")) as answers:
            try:
                for (row, file), answer in zip(missing.items(), answers, strict=True):
                    if isinstance(answer, str):
                        problems[row] = answer
                    elif answer is not None:
                        writer.name(file, answer, stamps)
            finally:  # Ctrl-C too
                writer.commit(stamps)
        return pd.Series(problems, dtype=object)

    def _find(self) -> Path | None:
        """The file of pixels that has an index."""
        indexes = [path.with_suffix(".pixels") for path in self.folder.glob(f"{OURS}.index")]
        return next((pixels for pixels in indexes if pixels.exists()), None)

    def _sound(self, stamps: pd.DataFrame) -> tuple[Path, Index]:
        """The file of pixels to go on with, and its index; begun anew where that would be wrong."""
        if found := self._find():
            index = Index(found)
            cut_short = found.stat().st_size < index.end  # making it longer would give black ones
            if len(index.table) and not cut_short and not index.has_changed(stamps):
                return found, index
        # Under a new name: another process may still be reading the old pixels.
        for path in self.folder.glob(f"{OURS}.index"):
            path.unlink()
        clear(self.folder)
        pixels = self.folder / f"{uuid.uuid4().hex}.pixels"
        pixels.touch()
        return pixels, Index(pixels)


def _name(root: Path, presize: Presize) -> str:
    """A folder's name for people, and all that the pixels depend on, hashed."""
    decoders = (PIL.__version__, features.version("jpg"), FORMAT)
    digest = hashlib.sha256(repr((os.fsencode(root), presize, decoders)).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", root.name)[:40]
    height, width = presize.size
    return f"{readable}-{presize.resize}-{height}x{width}-{digest[:12]}"
