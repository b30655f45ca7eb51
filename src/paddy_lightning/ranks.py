"""Several devices: a process each, started as the sweep's jobs are.

Lightning would start them itself, with Hydra's folders for arguments, and a sweep in each (its
issue 11300). Where ``LOCAL_RANK`` is set it does not, and takes these.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paddy_lightning.atomic import write_json
from paddy_lightning.check import num_devices
from paddy_lightning.command_line import GRACE, child_environment, end_child
from paddy_lightning.config import TrainConfig
from paddy_lightning.run_folder import read_config, read_summary

DEVICES = "PADDY_DEVICES"  # environment variable: how many ranks there are
POLL = 0.2  # seconds
SILENT = ("hydra.output_subdir=null", "hydra/job_logging=disabled")  # for all but the first


def local_rank() -> int | None:
    """Which of several ranks this process is; None where it is alone."""
    return int(os.environ["LOCAL_RANK"]) if DEVICES in os.environ else None


def needs_ranks(config: TrainConfig) -> bool:
    """Whether this process is to start a process a device."""
    if config.resume:
        config = read_config(Path(config.resume))
    return num_devices(config) > 1 and local_rank() is None


def run_ranks(script: str, config: TrainConfig, run_dir: Path) -> None:
    """Run this command again, once a device, as ranks of one training; only the first writes.

    Raises:
        KeyboardInterrupt: A rank was interrupted.
        SystemExit: With the exit code of the first rank that failed; the others are ended.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.types import Quote, QuotedString

    if config.resume:
        config = read_config(Path(config.resume))
    devices = num_devices(config)
    words = list(HydraConfig.get().overrides.task)
    if not any(word.startswith("resume=") for word in words):
        folder = QuotedString(str(run_dir), Quote.single).with_quotes()
        words.append(f"hydra.run.dir={folder}")
    # What the others complain of is told only where the first has not complained itself.
    complaints = [None, *(tempfile.TemporaryFile("w+") for _ in range(devices - 1))]  # noqa: SIM115
    environment = rank_environment(devices)
    ranks = [
        subprocess.Popen(
            [sys.executable, script, *words, *(SILENT if rank else ())],
            env=environment | {"LOCAL_RANK": str(rank)},
            stderr=complaint,
        )
        for rank, complaint in enumerate(complaints)
    ]
    failed = wait_for(ranks)
    complaint = complaints[ranks.index(failed)]
    if complaint is not None and ranks[0].returncode in (0, -signal.SIGKILL):
        complaint.seek(0)
        print(complaint.read(), file=sys.stderr)
    if failed.returncode == 130:
        raise KeyboardInterrupt
    if failed.returncode:
        summary = read_summary(run_dir)
        if summary.get("status") == "running":  # the first was ended while it waited for another
            reason = f"rank {ranks.index(failed)} failed"
            write_json(run_dir / "summary.json", summary | {"status": "failed", "reason": reason})
        raise SystemExit(1)


def wait_for(ranks: "list[subprocess.Popen[bytes]]") -> "subprocess.Popen[bytes]":
    """Wait for all; when one fails or this process is interrupted, the others are ended.

    Returns:
        The first that failed, or else the first.
    """
    try:
        while all(rank.poll() in (None, 0) for rank in ranks) and ranks[0].poll() is None:
            time.sleep(POLL)
    except KeyboardInterrupt:
        end_child(ranks[0])
    failed = next((rank for rank in ranks if rank.poll()), ranks[0])
    for rank in ranks:
        try:
            rank.wait(GRACE)
        except subprocess.TimeoutExpired:
            rank.kill()
            rank.wait()
    return failed


def rank_environment(devices: int) -> dict[str, str]:
    """What Lightning wants to know of processes that it did not start."""
    return child_environment() | {
        DEVICES: str(devices),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        # Otherwise every rank would take all cores for its matrices.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // devices)),
    }


def free_port() -> int:
    """A port on this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
