"""One process at a time."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from paddy_lightning.errors import TakenError

log = logging.getLogger(__name__)
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)  # where nobody else can begin, either
# Who removes the file as well could remove the next holder's: filelock does before 3.30, and in
# some versions after that unless it is told.
OURS_TO_REMOVE = tuple(map(int, version("filelock").split(".")[:2])) >= (3, 30)
LOCKLESS = (errno.ENOLCK, errno.EOPNOTSUPP)  # as some network mounts are


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock, which is a file for this alone; it goes with the process, however that ends.

    Where a file system has no locks, or nothing can be written, the block goes on without.

    Args:
        path: The file; its folder exists. It is gone afterwards, and one left by a process that
            was killed is nobody's.
        refusal: What to say where another process holds it.

    Raises:
        TakenError: It does.
    """
    lock = FileLock(path, preserve_lock_file=True) if OURS_TO_REMOVE else FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TakenError(refusal) from None
    except OSError as error:
        if error.errno not in UNWRITABLE:
            log.warning("%s: no lock can be had (%s): start nothing else there", path.parent, error)
        if error.errno in LOCKLESS:
            path.unlink(missing_ok=True)
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes nothing that is open; there, release() does
                if OURS_TO_REMOVE:
                    path.unlink()  # while it is ours: who else has it open has a lock on nothing
            lock.release()
