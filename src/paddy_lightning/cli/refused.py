"""What a run that never began leaves: why, where its folder was asked for by name; or nothing."""

import logging
import os
import shlex
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from paddy_lightning.atomic import write_json
from paddy_lightning.errors import UserError
from paddy_lightning.ranks import COMMAND


def keep_reason(resume: bool, run_dir: Path, reason: str) -> None:
    """Write down why a run was refused where its folder stays, and else take Hydra's files back.

    Args:
        resume: Whether it was to go on, in its own folder.
        run_dir: The run folder.
        reason: A sentence.
    """
    failed = {"status": "failed", "reason": reason}
    if resume:
        from paddy_lightning.runs.run_folder import locked
        from paddy_lightning.runs.summary import FINISHED, read_summary  # slow

        with suppress(UserError), locked(run_dir):
            if (summary := read_summary(run_dir)).get("status") not in FINISHED:
                write_json(run_dir / "summary.json", summary | failed)
    elif HydraConfig.get().output_subdir and not (run_dir / "summary.json").exists():
        typed_words = shlex.split(os.environ.get(COMMAND, ""))  # ranks are always told a folder
        if any(word.startswith("hydra.run.dir=") for word in typed_words):
            write_json(run_dir / "summary.json", failed)
        else:
            take_back(run_dir)


def leave_nothing(run_dir: Path) -> None:
    """Take Hydra's files back where a command was stopped before there was anything else."""
    hydra = HydraConfig.get()
    hydras = {str(hydra.output_subdir), f"{hydra.job.name}.log"}
    if hydra.output_subdir and {path.name for path in run_dir.iterdir()} <= hydras:
        take_back(run_dir)


def take_back(run_dir: Path) -> None:
    """Remove what Hydra wrote for a run before the task began, and its log."""
    hydra = HydraConfig.get()
    logging.shutdown()  # Windows removes nothing that is open
    own = run_dir / str(hydra.output_subdir)
    for name in ("config", "hydra", "overrides"):
        (own / f"{name}.yaml").unlink(missing_ok=True)
    (run_dir / f"{hydra.job.name}.log").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: somebody's files
        own.rmdir()
