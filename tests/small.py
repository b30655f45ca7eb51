"""Configs and tables small enough to train and compare in a second."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.runs.calibration import temperature_of, tempered
from paddy_lightning.runs.run_folder import read_predictions
from paddy_lightning.runs.trained import load_checkpoint


def small(stripes: Path, **changes: Any) -> TrainConfig:
    """A run of the stripes."""
    values: dict[str, Any] = {
        "data": DataConfig(Source.paddy, str(stripes)),
        "arch": "mobilenetv3_small_050",
        "weights": "none",
        "presize": (48, 40),
        "size": (40, 32),
        "epochs": 2,
        "lr": 1e-2,
        "batch_size": 16,
        "num_workers": 0,
    }
    return TrainConfig(**(values | changes))


def copied_unseen(stripes: Path, folder: Path) -> Path:
    """Pictures of each class, none of them one of the run's files."""
    shutil.copytree(stripes / "train_images", folder, dirs_exist_ok=True)
    for file in folder.rglob("*.jpg"):
        file.write_bytes(file.read_bytes() + b" ")  # the same to the eye
    return folder


def predictions(*runs_of: tuple[int, bool]) -> pd.DataFrame:
    """Pictures of one class, so and so many right or wrong."""
    right = [is_right for count, is_right in runs_of for _ in range(count)]
    files = [f"{row}.jpg" for row in range(len(right))]
    said = ["a" if is_right else "b" for is_right in right]
    return pd.DataFrame({"file": files, "label": "a", "predicted": said})


def calibrated(run: Path) -> pd.DataFrame:
    """What ``paddy predict`` is to say of a run's validation pictures, by file."""
    valid = read_predictions(run / "valid_predictions.csv").set_index("file")
    classes = list(valid)[4:]
    shares = tempered(valid[classes].to_numpy(), temperature_of(load_checkpoint(run)))
    return pd.DataFrame(shares, valid.index, classes)
