"""The run folder, a run's memory: whose it is, its config and its tables.

Interpretation and comparison read these files alone.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from paddy_lightning.atomic import written_whole
from paddy_lightning.choices import OFF, DataConfig
from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.errors import TakenError, UserError
from paddy_lightning.knob import read_path
from paddy_lightning.locks import alone

log = logging.getLogger(__name__)
LOCK = "run.lock"
SOFT_LABELS = "soft_labels.csv"


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
        temporary.write_text(yaml.safe_dump(plain(config), sort_keys=False), "utf-8")


def keep_soft_labels(run_dir: Path, config: TrainConfig) -> None:
    """A copy of the table that a run was told of, to go on with: that one may change."""
    if config.soft_labels:
        shutil.copyfile(config.soft_labels, run_dir / SOFT_LABELS)


def read_config(run_dir: Path) -> TrainConfig:
    """The config a run was started with.

    Raises:
        UserError: No run there, or one of another version.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run_dir}: not a run folder (it has no config.yaml)")
    try:
        return TrainConfig(**yaml.safe_load(path.read_text("utf-8")))
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
    if config.soft_labels:
        config.soft_labels = str(Path(told.resume, SOFT_LABELS))
    return config


def moved(data: DataConfig, told: DataConfig) -> DataConfig:
    """A data set at the place that is told; a table below its folder has moved with it."""
    root, csv = told.root or data.root, told.csv or data.csv
    if told.csv is None and data.csv and data.root and Path(data.csv).is_relative_to(data.root):
        csv = str(Path(str(root), Path(data.csv).relative_to(data.root)))
    return replace(data, root=root, csv=csv)


def from_anywhere(config: TrainConfig, data: DataConfig) -> TrainConfig:
    """The same in whatever folder it is read: where the data was found, and no relative path."""
    words = {
        "start": (),
        "soft_labels": (),
        "test": (),
        "weights": ("pretrained", "none"),
        "cache": (OFF,),
    }
    paths = {name: getattr(config, name) for name in words}
    whole: dict[str, Any] = {
        name: str(Path(path).expanduser().absolute())
        for name, path in paths.items()
        if path is not None and path not in words[name]
    }
    return replace(config, data=data, **whole)


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


def read_predictions(path: Path) -> pd.DataFrame:
    """``valid_predictions.csv`` of a run.

    Raises:
        UserError: There is none, or it is another table.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there; has the run come to its end?")
    names = dict.fromkeys(("file", "label", "predicted"), str)
    try:
        table = pd.read_csv(
            path, dtype=names, keep_default_na=False, encoding_errors="surrogateescape"
        )
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error
    if missing := sorted(set(names) - set(table)):
        raise UserError(f"{path}: has no column {missing[0]}, and is none of our predictions")
    return table


def file_of(run: Path) -> Path:
    """The best checkpoint of a run folder; a file is itself."""
    return run / "checkpoints" / "best.ckpt" if run.is_dir() else run


def folder_of(checkpoint: Path) -> Path:
    """The run a checkpoint or an export belongs to, or the folder of a file that has none."""
    if checkpoint.is_dir():
        return checkpoint
    folder = checkpoint.parent
    exported = folder.name == "export" and (folder.parent / "config.yaml").is_file()
    return folder.parent if exported or folder.name == "checkpoints" else folder
