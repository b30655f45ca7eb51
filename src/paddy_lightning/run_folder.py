"""The run folder, a run's memory: config.yaml, checkpoints/, figures/, CSV files, summary.json.

Interpretation and comparison read these files alone.
"""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from paddy_lightning import __version__
from paddy_lightning.atomic import write_json, written_whole
from paddy_lightning.config import OFF, DataConfig, TrainConfig, plain
from paddy_lightning.errors import DivergedError, TakenError, UserError
from paddy_lightning.faults import sentence_of
from paddy_lightning.knob import read_path
from paddy_lightning.locks import alone
from paddy_lightning.ranks import COMMAND

log = logging.getLogger(__name__)
VERSIONS = ("torch", "pytorch-lightning", "timm", "kornia", "pillow")
LOCK = "run.lock"
STOPPED = "stopped"  # a status: evaluated, but short of its schedule's end
FINISHED = ("done", STOPPED)  # what has a best checkpoint that is evaluated
Summary = dict[str, Any]


@contextmanager
def new_run_folder(run_dir: str | Path | None) -> Iterator[Path]:
    """The folder asked for, or ``outputs/<date and time to the microsecond>``, to oneself.

    Where no run is in it afterwards nothing is left, but for others' files.

    Raises:
        TakenError: It holds a run already, or another process has just begun one.
    """
    path = Path(read_path(run_dir) or f"outputs/{datetime.now():%Y-%m-%d_%H-%M-%S_%f}")
    refuse_taken(path)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        with locked(path):
            refuse_used(path)
            yield path
    finally:
        for folder in made:
            with suppress(OSError):  # not empty
                folder.rmdir()


def refuse_taken(path: Path) -> None:
    """Refuse a folder in which no new run can begin.

    Raises:
        TakenError: It holds a run already, or another process has just begun one.
        UserError: It is none.
    """
    refuse_used(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; name a folder")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: TensorBoard writes to no such name; choose another") from None
    if (path / LOCK).exists():
        with locked(path):
            pass


def refuse_used(path: Path) -> None:
    """Refuse a folder with a run.

    Raises:
        TakenError: It is one.
    """
    if (path / "config.yaml").exists():
        raise TakenError(
            f"{path}: holds a run already; choose another hydra.run.dir=, or resume={path} alone"
        )


def save_config(run_dir: Path, config: TrainConfig) -> None:
    """Write ``config.yaml``, which makes a folder a run's."""
    with written_whole(run_dir / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(plain(config), sort_keys=False))


def read_config(run_dir: Path) -> TrainConfig:
    """The config a run was started with.

    Raises:
        UserError: No run there, or one of another version.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run_dir}: not a run folder (it has no config.yaml)")
    try:
        return TrainConfig(**yaml.safe_load(path.read_text()))
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a config of this version ({error})") from error


def whole_config(told: TrainConfig) -> TrainConfig:
    """All that a command means: for ``resume=`` the run's own config, and what is told beside it.

    Raises:
        UserError: As ``read_config``.
    """
    if told.resume is None:
        return told
    config = read_config(Path(told.resume))
    config.trainer |= told.trainer
    config.num_workers = config.num_workers if told.num_workers is None else told.num_workers
    config.cache = told.cache or config.cache
    config.data = moved(config.data, told.data)
    return config


def moved(data: DataConfig, told: DataConfig) -> DataConfig:
    """A data set at the place that is told; a table below its folder has moved with it."""
    root, csv = told.root or data.root, told.csv or data.csv
    if told.csv is None and data.csv and data.root and Path(data.csv).is_relative_to(data.root):
        csv = str(Path(str(root), Path(data.csv).relative_to(data.root)))
    return replace(data, root=root, csv=csv)


def from_anywhere(config: TrainConfig, data: DataConfig) -> TrainConfig:
    """The same in whatever folder it is read: where the data was found, and no relative path."""
    words = {"start": (), "weights": ("pretrained", "none"), "cache": (OFF,)}
    paths = {name: getattr(config, name) for name in words}
    whole: dict[str, Any] = {
        name: str(Path(path).expanduser().absolute())
        for name, path in paths.items()
        if path is not None and path not in words[name]
    }
    return replace(config, data=data, **whole)


def read_summary(run_dir: Path) -> Summary:
    """What ``summary.json`` says; nothing where there is none.

    Raises:
        UserError: Not what we write.
    """
    path = run_dir / "summary.json"
    try:
        return dict(json.loads(path.read_text())) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); move it away") from error


def short_names(run_dirs: Sequence[Path]) -> list[str]:
    """The last parts of the paths of several run folders, as few as tell them apart."""
    parts = [run_dir.resolve().parts for run_dir in run_dirs]
    depths = range(1, max(map(len, parts)) + 1)
    ways = (["/".join(path[-depth:]) for path in parts] for depth in depths)
    return next((names for names in ways if len({*names}) == len(names)), [*map(str, run_dirs)])


def locked(run_dir: Path) -> AbstractContextManager[None]:
    """Have a run folder to oneself.

    Raises:
        TakenError: Another process works there.
    """
    return alone(run_dir / LOCK, f"{run_dir}: is being trained by another process")


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
    except (KeyboardInterrupt, SystemExit):
        write("interrupted")
        log.info("interrupted; go on with: %s", resuming(run_dir))
        raise KeyboardInterrupt from None
    except BaseException as error:
        write("failed", reason=sentence_of(error) or f"{type(error).__name__}: {error}")
        may_go_on = not isinstance(error, DivergedError)
        if may_go_on and (run_dir / "checkpoints" / "last.ckpt").exists():
            log.info("what is done is kept; go on with: %s", resuming(run_dir))
        raise
    write("done" if summary["status"] == "running" else summary["status"])


def resuming(run_dir: str | Path) -> str:
    """The command that goes on with a run."""
    return f"python train.py resume={shlex.quote(str(run_dir))}"


def first_summary(
    config: TrainConfig,
    run_dir: Path,
    facts: dict[str, Any],
    table: pd.DataFrame,
    earlier: Summary,
) -> Summary:
    """What is known of a run before it trains; ``earlier`` is of a run that goes on."""
    num_valid = int(table["is_valid"].sum())
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
        "arch": facts["arch"],
        "num_parameters": facts["num_parameters"],
        "lr": config.lr,
        "seed": config.seed,
        "versions": versions(),
        "command": earlier.get("command") or command(),
        "resumed": [*earlier.get("resumed", []), command()] if earlier else [],
    }


def closing_line(summary: Summary) -> str:
    """The run in a line: errors, time and where everything lies."""
    tta = summary["tta_error_rate"]
    with_tta = "" if tta is None else f", with TTA {tta:.4f}"
    done = summary["status"] == "done"
    how = "done" if done else f"stopped ({summary['reason']})"
    on = "" if done else f"; go on with: {resuming(summary['run_dir'])}"
    return (
        f"{how} in {summary['seconds']:.0f} s: error rate {summary['error_rate']:.4f}{with_tta},"
        f" valid_loss {summary['valid_loss']:.4f} (epoch {summary['best_epoch']});"
        f" everything is in {summary['run_dir']}{on}"
    )


def versions() -> dict[str, str]:
    """Of what a run's numbers depend on."""
    own = {"python": sys.version.split()[0], "paddy-lightning": __version__}  # installed or not
    return own | {name: version(name) for name in VERSIONS}


def command() -> str:
    """The command line as it was typed."""
    return os.environ.get(COMMAND) or shlex.join(["python", *sys.argv])


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
