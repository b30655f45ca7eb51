"""The run folder, a run's memory: config.yaml, checkpoints/, figures/, CSV files, summary.json.

Interpretation and comparison read these files alone.
"""

import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paddy_lightning.atomic import write_json
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
VERSIONS = ("paddy-lightning", "torch", "pytorch-lightning", "timm", "kornia", "pillow")
Summary = dict[str, Any]


def new_run_folder(run_dir: str | Path | None) -> Path:
    """The folder asked for, or ``outputs/<date and time to the microsecond>``.

    Raises:
        UserError: It holds a run already.
    """
    path = Path(run_dir or f"outputs/{datetime.now():%Y-%m-%d_%H-%M-%S_%f}")
    if (path / "config.yaml").exists():
        raise UserError(f"{path}: holds a run already; choose another hydra.run.dir=")
    return path


@contextmanager
def summarised(run_dir: Path, summary: Summary) -> Iterator[Summary]:
    """Keep ``summary.json`` true to what happens: running, then done, failed or interrupted.

    Args:
        run_dir: The run folder.
        summary: What is known at the start; the block adds to it.

    Raises:
        SystemExit: 130, after Ctrl-C.
    """
    started = time.perf_counter()

    def write(status: str, **more: Any) -> None:
        seconds = round(time.perf_counter() - started, 1)
        summary.update(status=status, seconds=seconds, peak_memory_mb=peak_memory_mb(), **more)
        write_json(run_dir / "summary.json", summary)

    write("running")
    try:
        yield summary
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        write("interrupted")
        log.info("interrupted; what was trained so far is in %s", run_dir)
        raise SystemExit(130) from None
    except BaseException as error:
        write("failed", reason=f"{type(error).__name__}: {error}")
        raise
    write("done")


def versions() -> dict[str, str]:
    """Of what a run's numbers depend on."""
    return {"python": sys.version.split()[0]} | {name: version(name) for name in VERSIONS}


def command() -> str:
    """The command line, so that it can be typed again."""
    return shlex.join(["python", *sys.argv])


def peak_memory_mb() -> int:
    """Of the GPU where one was used, else of this process (not of its workers)."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 2**10  # of ru_maxrss, in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)
