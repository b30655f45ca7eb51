"""Several devices: ``paddy train`` starts a process for each, as a sweep does for its jobs.

Lightning would start them itself, with Hydra's folders for arguments, and a sweep in each (its
issue 11300). Where ``LOCAL_RANK`` is set it does not, and takes these.
"""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from paddy_lightning.atomic import write_json
from paddy_lightning.cli.children import (
    GRACE,
    child_environment,
    command_again,
    end_child,
    flags_again,
    knobs_again,
)
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import TakenError
from paddy_lightning.ranks import COMMAND, DEVICES, LOCAL_RANK, WORLD_SIZE, local_rank
from paddy_lightning.runs.run_folder import locked
from paddy_lightning.runs.summary import command, read_summary
from paddy_lightning.training.check import num_devices

POLL = 0.2  # seconds
SILENT = ("hydra.output_subdir=null", "hydra/job_logging=disabled")  # for all but the first
FOREIGN = "TORCHELASTIC_"  # environment variables: torch would look for the store of torchrun


def needs_ranks(config: TrainConfig) -> bool:
    """Whether this process is to start a process a device."""
    return num_devices(config) > 1 and local_rank() is None


def run_ranks(config: TrainConfig, run_dir: Path) -> None:
    """Run this command again, once a device, as ranks of one training; only the first writes.

    Args:
        config: As ``whole_config`` has it.
        run_dir: The run folder.

    Raises:
        KeyboardInterrupt: A rank was interrupted.
        SystemExit: With the exit code of the first rank that failed; the others are ended.
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    devices = num_devices(config)
    words = knobs_again()
    if not any(word.startswith("resume=") for word in words):
        folder = QuotedString(str(run_dir), Quote.single).with_quotes()
        words.append(f"hydra.run.dir={folder}")
    # What the others complain of is told only where the first has not complained itself.
    complaints = [None, *(tempfile.TemporaryFile("w+") for _ in range(devices - 1))]  # noqa: SIM115
    environment = rank_environment(devices)
    ranks = [
        subprocess.Popen(
            [*command_again("train"), *words, *(SILENT if rank else ()), *flags_again("train")],
            env=environment | {LOCAL_RANK: str(rank), "RANK": str(rank)},
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
        with suppress(TakenError):
            tell_failure(run_dir, f"rank {ranks.index(failed)} failed")
        raise SystemExit(1)


def tell_failure(run_dir: Path, reason: str) -> None:
    """Write down what the first rank could not, which was ended while it waited for another.

    Raises:
        TakenError: Another process trains there, and these ranks were refused.
    """
    if read_summary(run_dir).get("status") == "running":
        with locked(run_dir):
            summary = read_summary(run_dir) | {"status": "failed", "reason": reason}
            write_json(run_dir / "summary.json", summary)


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
    """What Lightning wants to know of processes that it did not start.

    Under Slurm or torchrun, too, these are ours: what those say of their own is left out.
    """
    kept = {k: v for k, v in child_environment().items() if not k.startswith(FOREIGN)}
    # Otherwise every rank would take all cores for its matrices.
    threads = {"OMP_NUM_THREADS": str(max(1, num_cores() // devices))}
    ours = {
        COMMAND: command(),
        DEVICES: str(devices),
        WORLD_SIZE: str(devices),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    return threads | kept | ours


def free_port() -> int:
    """A port on this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
