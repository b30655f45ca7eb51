"""How much room caches take: all of a place together, whoever fills and reads them meanwhile.

A cache that is being filled has its own lock; one that is being read, a shared lock on its pixels,
or on Windows just an open file, which nobody can remove there. All end with the process that holds
them, however it ends.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)
KEPT_FREE = 0.05  # of the disk
STEP = 64 * 2**20  # bytes that are taken at once: what several jobs may be wrong by about the disk
OURS = "[0-9a-f]" * 32  # the names of our files, whatever else lies there


class Room:
    """What the caches of one place may take together.

    Args:
        place: The folder of all caches.
        limit: In bytes.
    """

    def __init__(self, place: Path, limit: float) -> None:
        self.place = place
        self.limit = limit

    def extend(self, pixels: Path, size: int, wanted: int, least: int) -> int:
        """Make a file of pixels larger, as far as there is room.

        The hole at its end is room that is taken: other processes count it from then on. Where
        there is too little, the caches that were longest of no use are cleared; not those that
        are being filled or read.

        Args:
            pixels: The file.
            size: Of the file, in bytes.
            wanted: Bytes more.
            least: Of these, what is needed now.

        Returns:
            Its size now.
        """
        more = max(least, min(wanted, STEP))
        with locked(self.place):
            for other in self._others(pixels.parent):
                if self._left() >= more:
                    break
                with locked(other, wait=False) as ours:
                    if ours:
                        clear(other)
            size += max(0, min(more, self._left()))
            os.truncate(pixels, size)
        return size

    def _left(self) -> int:
        taken = sum(_size(pixels) for pixels in self.place.glob(f"*/{OURS}.pixels"))
        disk = shutil.disk_usage(self.place)
        spare = (
            disk.free - KEPT_FREE * disk.total if disk.total else self.limit
        )  # some tell nothing
        return int(min(self.limit - taken, spare))

    def _others(self, own: Path) -> list[Path]:
        """The other caches, the one that was longest of no use first."""
        folders = {pixels.parent for pixels in self.place.glob(f"*/{OURS}.pixels")} - {own}
        return sorted(folders, key=lambda folder: folder.stat().st_mtime)


@contextmanager
def locked(folder: Path, wait: bool = True, notice: str = "") -> Iterator[bool]:
    """Have a folder to oneself, or, without ``wait``, learn that another process has it.

    Args:
        folder: Its lock is a file in it.
        wait: Until the other one is done.
        notice: What is said then.

    Raises:
        OSError: There are no locks here, or the folder cannot be written to.
    """
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except NotImplementedError as error:  # the file system has none
        raise OSError(str(error)) from error
    except Timeout:
        if not isinstance(lock, FileLock):  # nor here; files in their place outlive a killed job
            raise
        if notice:
            log.info(notice)
        if wait:
            lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def hold(pixels: Path) -> BinaryIO:
    """Open a file of pixels to read; as long as it is open, here or in a fork, it is not cleared.

    Raises:
        OSError: It was cleared just now, or cannot be read.
    """
    file = pixels.open("rb", buffering=0)
    _flock(file, shared=True)
    if os.fstat(file.fileno()).st_nlink == 0:
        raise FileNotFoundError(pixels)
    return file  # type: ignore[return-value]


def clear(folder: Path) -> None:
    """Remove a cache's files, and nothing else; what is being read stays."""
    for pixels in folder.glob(f"{OURS}.pixels"):
        with suppress(OSError), _nobody_reading(pixels):
            pixels.unlink()  # first, as it may be refused; an index without pixels is not looked at
            pixels.with_suffix(".index").unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed just now
        return 0


if sys.platform == "win32":  # which removes nothing that is open: readers need no lock

    def _flock(file: BinaryIO, shared: bool) -> None:
        del file, shared

    def _nobody_reading(pixels: Path) -> AbstractContextManager[None]:
        del pixels
        return nullcontext()

else:
    import fcntl

    def _flock(file: BinaryIO, shared: bool) -> None:
        """Lock an open file, or raise BlockingIOError; on some file systems there is no lock."""
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return

    @contextmanager
    def _nobody_reading(pixels: Path) -> Iterator[None]:
        """Keep readers off, or raise BlockingIOError where there are some."""
        with pixels.open("r+b") as file:
            _flock(file, shared=False)
            yield
