"""Several devices of this machine: torch's launcher starts ``paddy train`` again, once for each.

As ``torchrun --standalone`` does; but only the first is heard, and the run folder tells how all
ended.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from paddy_lightning.atomic import write_json
from paddy_lightning.cli.children import command_again, flags_again, knobs_again
from paddy_lightning.cli.refused import keep_reason
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import TakenError
from paddy_lightning.faults import PEER_ENDED
from paddy_lightning.ranks import starter
from paddy_lightning.runs.run_folder import locked
from paddy_lightning.runs.summary import read_summary
from paddy_lightning.training.check import num_devices

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

COMPLAINED = {1, 2}  # exit codes of a rank that has said why
INTERRUPTED = 130
SOON = 5  # seconds; torch kills those that do not end when they are told to after 30
ENDED_BY_US = {INTERRUPTED, -signal.SIGTERM}  # of those that are told to end when one fails


def needs_ranks(config: TrainConfig) -> bool:
    """Whether this process is to start a process a device."""
    return num_devices(config) > 1 and starter() is None


def run_ranks(config: TrainConfig, run_dir: Path) -> None:
    """Run this command again, once a device, as ranks of one training; only the first writes.

    Args:
        config: As ``whole_config`` has it.
        run_dir: The run folder.

    Raises:
        KeyboardInterrupt: This process or a rank was interrupted.
        SystemExit: 1, where a rank failed; the others are ended.
    """
    from hydra.core.override_parser.types import Quote, QuotedString
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    devices = num_devices(config)
    words = [*knobs_again(), *flags_again("train")]
    if not any(word.startswith("resume=") for word in words):
        words.append(f"hydra.run.dir={QuotedString(str(run_dir), Quote.single).with_quotes()}")
    # Otherwise every rank would take all cores for its matrices.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // devices)))
    logging.disable()  # torch tells of every signal it sends; of ours there is nothing more to say
    with tempfile.TemporaryDirectory() as said:
        launch = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            run_id="ranks",
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",  # any free port
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(said, dict.fromkeys(range(1, devices), Std.ALL)),
        )
        try:  # torch puts a rank's number in place of ${local_rank}, and $ in place of $$
            start, *again = command_again("train")
            elastic_launch(launch, start)(*again, *(w.replace("$", "$$") for w in words))
        except SignalException:
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            if reason := tell(error, Path(said), run_dir):
                with suppress(TakenError):
                    tell_failure(run_dir, reason)
            raise SystemExit(1) from None


def tell(error: "ChildFailedError", said: Path, run_dir: Path) -> str | None:
    """Tell what the rank that failed first complains of, unless rank 0 has complained itself.

    Of a rank that was killed in any case: what rank 0 then says is of a lost connection.

    Args:
        error: Of torch's launcher.
        said: Where it has put what the other ranks say.
        run_dir: The run folder.

    Returns:
        Its complaint, or which rank ended and how; None where rank 0 has told it.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    rank, failure = error.get_first_failure()
    if failure.exitcode == INTERRUPTED:
        raise KeyboardInterrupt
    if lacks_reason(run_dir):
        rank = to_blame(error.failures, rank, said)
        failure = error.failures[rank]
    exit_codes = {failure.exitcode, error.failures[0].exitcode if 0 in error.failures else None}
    if exit_codes <= COMPLAINED and not lacks_reason(run_dir):
        return None
    print(complaint := complaint_of(rank, said), end="", file=sys.stderr)
    if failure.exitcode in COMPLAINED:
        lines = complaint.splitlines()
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return told[-1] if told else f"rank {rank} failed"
    ended = failure.signal_name() if failure.exitcode < 0 else f"exit code {failure.exitcode}"
    print(f"error: rank {rank} was ended by {ended}", file=sys.stderr)
    return f"rank {rank} was ended by {ended}"


def to_blame(failures: Mapping[int, "ProcessFailure"], first: int, said: Path) -> int:
    """Which rank has failed by itself, where rank 0 does not know.

    The others lose their connection to it, often in the same second, or are told to end.

    Args:
        failures: By rank.
        first: The rank that torch's launcher has seen first.
        said: As for ``tell``.
    """
    soon = failures[first].timestamp + SOON
    alone = {n: one.exitcode for n, one in failures.items() if one.timestamp <= soon}
    alone = {n: code for n, code in alone.items() if code not in ENDED_BY_US}
    died = [n for n, code in alone.items() if code not in COMPLAINED]
    know = [n for n in alone if n and PEER_ENDED not in complaint_of(n, said)]
    return first if first in {*died, *know} else next(iter([*died, *know]), first)


def complaint_of(rank: int, said: Path) -> str:
    """What another rank than the first has put on its stderr."""
    found = said.glob(f"*/*/{rank}/stderr.log")
    return "".join(path.read_text("utf-8", errors="replace") for path in found)


def tell_failure(run_dir: Path, reason: str) -> None:
    """Write down what the first rank could not, or took for something else: another's failure.

    Of a run that never began, as of any that is refused.

    Raises:
        TakenError: Another process trains there, and these ranks were refused.
    """
    with locked(run_dir):
        summary = read_summary(run_dir)
        if summary.get("status") in ("running", "interrupted", "failed"):
            failed = {"status": "failed", "reason": reason}
            write_json(run_dir / "summary.json", summary | failed)
        elif not (run_dir / "config.yaml").exists():
            keep_reason(False, run_dir, reason)


def lacks_reason(run_dir: Path) -> bool:
    """Whether a run has ended without its first rank knowing why."""
    summary = read_summary(run_dir)
    unaware = summary.get("status") in ("running", "interrupted")
    return unaware or summary.get("reason") == PEER_ENDED
