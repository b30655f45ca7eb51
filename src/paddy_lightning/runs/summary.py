"""``summary.json``: what a run is, how it goes and what came out; always true."""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from paddy_lightning import __version__
from paddy_lightning.atomic import write_json
from paddy_lightning.choices import Keep
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.split import ALIKE, DUPLICATES
from paddy_lightning.errors import DivergedError, UserError
from paddy_lightning.faults import sentence_of
from paddy_lightning.ranks import COMMAND

log = logging.getLogger(__name__)


STOPPED = "stopped"  # a status: evaluated, but short of its schedule's end
FINISHED = ("done", STOPPED)  # what has a best checkpoint that is evaluated
Summary = dict[str, Any]
WHY_KEPT = {
    Keep.error: "the lowest error rate",
    Keep.loss: "the lowest loss",
    Keep.last: "the last",
}
VERSIONS = ("torch", "pytorch-lightning", "timm", "kornia", "pillow")


@contextmanager
def summarised(run_dir: Path, summary: Summary) -> Iterator[Summary]:
    """Keep ``summary.json`` true to what happens: running, then done, failed or interrupted.

    The block may set another status than done for its own end.

    Args:
        run_dir: The run folder.
        summary: What is known at the start, such as the ``seconds`` spent before a resume; the
            block adds to it.

    Raises:
        KeyboardInterrupt: After Ctrl-C, which Lightning turns into SystemExit.
    """
    started = time.perf_counter() - summary.get("seconds", 0)

    def write(status: str, **more: Any) -> None:
        seconds = round(time.perf_counter() - started, 1)
        summary.update(status=status, seconds=seconds, peak_memory_mb=peak_memory_mb(), **more)
        write_json(run_dir / "summary.json", summary)

    write("running")
    try:
        yield summary
    except BaseException as error:
        if interrupted(error):
            write("interrupted")
            log.info("interrupted; go on with: %s", resuming(run_dir))
            raise KeyboardInterrupt from None
        write("failed", reason=sentence_of(error) or f"{type(error).__name__}: {error}")
        may_go_on = not isinstance(error, DivergedError)
        if may_go_on and (run_dir / "checkpoints" / "last.ckpt").exists():
            log.info("what is done is kept; go on with: %s", resuming(run_dir))
        raise
    write("done" if summary["status"] == "running" else summary["status"])


def interrupted(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or what became of it: within ``torch.save`` a RuntimeError."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
        error = error.__context__
    return error is not None


def resuming(run_dir: str | Path) -> str:
    """The command that goes on with a run."""
    return f"paddy train resume={shlex.quote(Path(run_dir).as_posix())}"  # any shell takes a "/"


def first_summary(
    config: TrainConfig,
    run_dir: Path,
    facts: dict[str, Any],
    table: pd.DataFrame,
    earlier: Summary,
) -> Summary:
    """What is known of a run before it trains; ``earlier`` is of a run that goes on."""
    num_valid = int(table["is_valid"].sum())
    alike = config.group == DUPLICATES and ALIKE in table
    return {
        "status": "running",
        "run_dir": str(run_dir),
        "error_rate": None,
        "valid_loss": None,
        "tta_error_rate": None,
        "epochs": config.epochs + config.freeze_epochs,
        "seconds": earlier.get("seconds", 0),
        "images_per_second": None,
        "num_train": len(table) - num_valid,
        "num_valid": num_valid,
        "num_groups": int(table[ALIKE].nunique()) if alike else None,
        "arch": facts["arch"],
        "num_parameters": facts["num_parameters"],
        "lr": config.lr,
        "keep": str(config.keep),
        "seed": config.seed,
        "versions": versions(),
        "command": earlier.get("command") or command(),
        "resumed": [*earlier.get("resumed", []), command()] if earlier else [],
    }


def result_line(summary: Summary) -> str:
    """Errors, and of which epoch."""
    tta, test = summary["tta_error_rate"], summary.get("test_error_rate")
    with_tta = "" if tta is None else f", with TTA {tta:.4f}"
    on_test = "" if test is None else f"; on {summary['num_test']} test pictures {test:.4f}"
    return (
        f"error rate {summary['error_rate']:.4f}{with_tta}, valid_loss {summary['valid_loss']:.4f}"
        f" (epoch {summary['kept_epoch']}, {WHY_KEPT[summary['keep']]}){on_test}"
    )


def closing_line(summary: Summary) -> str:
    """How the run ended, its time, and where everything lies."""
    done = summary["status"] == "done"
    how = "done" if done else f"stopped ({summary['reason']})"
    on = "" if done else f"; go on with: {resuming(summary['run_dir'])}"
    return f"{how} in {summary['seconds']:.0f} s; everything is in {summary['run_dir']}{on}"


def versions() -> dict[str, str]:
    """Of what a run's numbers depend on."""
    own = {"python": sys.version.split()[0], "paddy-lightning": __version__}  # installed or not
    return own | {name: version(name) for name in VERSIONS}


def command() -> str:
    """The command line as it was typed."""
    return os.environ.get(COMMAND) or shlex.join(["python", *sys.argv])


def peak_memory_mb() -> int | None:
    """Of CUDA's device where one was used, else of this process (not of its workers).

    Apple's GPUs share the machine's memory, and torch has no peak of theirs. None on Windows.
    """
    import torch

    if torch.cuda.is_available() and (peak := torch.cuda.max_memory_allocated()):
        return round(peak / 2**20)
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # of ru_maxrss, in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def read_summary(run_dir: Path) -> Summary:
    """What ``summary.json`` says; nothing where there is none.

    Raises:
        UserError: Not what we write.
    """
    path = run_dir / "summary.json"
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); move it away") from error
