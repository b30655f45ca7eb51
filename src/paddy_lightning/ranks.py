"""Several devices: a process each, started as the sweep's jobs are.

Lightning would start them itself, with Hydra's folders for arguments, and a sweep in each. Where
``LOCAL_RANK`` is set it does not, and takes these.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

POLL = 0.2  # seconds
DEVICES = "PADDY_DEVICES"  # environment variable: how many ranks there are


def local_rank() -> int | None:
    """Which of several ranks this process is; None where it is alone."""
    return int(os.environ["LOCAL_RANK"]) if DEVICES in os.environ else None


def run_ranks(script: str, words: Sequence[str], devices: int) -> int:
    """Run ``python <script> <words>`` once a device, as ranks of one training.

    Only the first writes; the others keep Hydra from making folders and logs.

    Returns:
        0 if all ended well, else the exit code of the first that did not; the others are ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        DEVICES: str(devices),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Otherwise every rank would take all cores for its matrices.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // devices)),
    }
    silent = ["hydra.output_subdir=null", "hydra/job_logging=disabled"]
    ranks = [
        subprocess.Popen(
            [sys.executable, script, *words, *(silent if rank else [])],
            env=os.environ | shared | {"LOCAL_RANK": str(rank)},
        )
        for rank in range(devices)
    ]
    try:
        while all(rank.poll() in (None, 0) for rank in ranks) and any(
            rank.poll() is None for rank in ranks
        ):
            time.sleep(POLL)
    except KeyboardInterrupt:
        for rank in ranks:
            rank.send_signal(signal.SIGTERM)
        ranks[0].wait()  # it has a summary to write
    failed = [rank.returncode for rank in ranks if rank.poll() not in (None, 0)]
    if failed and ranks[0].poll() is None:
        time.sleep(POLL)
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()
        rank.wait()
    return failed[0] if failed else 0
