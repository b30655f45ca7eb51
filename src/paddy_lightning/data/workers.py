"""How many processes or threads open pictures."""

import logging
import os
import shutil
import sys
from pathlib import Path

from paddy_lightning.choices import Size

log = logging.getLogger(__name__)
SHARED_MEMORY = Path("/dev/shm")
BATCHES_A_WORKER = 6  # two ready and one in hand, for training and for validation


def default_num_workers(num_workers: int | None) -> int:
    """As asked; or with a GPU one a core, at most 8 or, not forked, 2; and without one none.

    Where the network itself keeps all cores busy, processes beside it only get in its way: there,
    threads open the pictures between two steps.
    """
    if num_workers is not None:
        return num_workers
    import torch  # slow to import: not for those who only look at files

    most = 8 if start_method() == "fork" else 2  # each of the others imports torch anew
    return min(num_cores(), most) if torch.accelerator.is_available() else 0


def start_method() -> str | None:
    """How workers are started: forked on Linux, elsewhere as Python does by itself.

    From Python 3.14 on, Linux has ``forkserver`` instead, where every worker imports torch
    anew: seconds, and 0.7 GB each. Workers open files and touch no device, and
    are started by the main thread, so that forking is safe.
    """
    return "fork" if sys.platform == "linux" else None


def cores_to_use(num_workers: int | None) -> int:
    """For looking at all files at once: as many as workers were asked for, or all, 8 at most."""
    return min(num_cores(), 8) if num_workers is None else max(1, num_workers)


def num_cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fitting_workers(num_workers: int, size: Size, batch_size: int) -> int:
    """As many of these as the shared memory, through which batches travel, has room for.

    Without room a worker dies of a bus error; containers often have 64 MB. One line says so.
    """
    if not SHARED_MEMORY.is_dir():
        return num_workers
    batch = size[0] * size[1] * 3 * batch_size
    free = shutil.disk_usage(SHARED_MEMORY).free
    fitting = min(num_workers, free // (BATCHES_A_WORKER * batch))
    if fitting < num_workers:
        log.warning(
            "num_workers: %d, not %d: %s has %d MB free, and a worker may need %d; docker run"
            " --shm-size=1g gives more",
            *(fitting, num_workers, SHARED_MEMORY, free >> 20, BATCHES_A_WORKER * batch >> 20),
        )
    return fitting
