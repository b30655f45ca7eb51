"""Memory that one tensor leaves is the next one's, and is not the system's in between.

glibc gives back what is larger than 32 MiB at once and the end of its heap soon, and the system
clears every page that it hands out again: a quarter of the time of a training on a CPU.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of mallopt(3)
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}  # all is of the heap, whose end is never given back
# Where glibc's own adjusting ends in a process that frees large tensors; it is off once it is told.
GIVE_BACK = {MMAP_MAX: 2**16, MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
_depth = 0  # of calls within calls


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed until the end, and then give it back.

    Nothing is done without glibc, which is Linux's as a rule, or where its user has set it up by
    environment variables (``MALLOC_*``, ``GLIBC_TUNABLES``).
    """
    global _depth
    libc = None if _depth else _glibc()
    _depth += 1
    try:
        if libc:
            _tell(libc, KEEP)
        yield
    finally:
        _depth -= 1
        if libc:
            _tell(libc, GIVE_BACK)
            libc.malloc_trim(0)


def _glibc() -> Any:
    """The C library of this process, where it can be told; None else."""
    told = [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
    if os.name != "posix" or told:
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def _tell(libc: Any, settings: dict[int, int]) -> None:
    for name, value in settings.items():
        libc.mallopt(name, value)
