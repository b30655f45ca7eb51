"""Predict: python predict.py ckpt=RUN [images=FILE_OR_FOLDER] [tta=true]; --help lists all."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import PredictConfig


def task(config: PredictConfig, run_dir: Path) -> None:
    """Predict, and write beside the checkpoint unless ``output=`` says otherwise."""
    from paddy_lightning.predict import run_predict

    run_predict(config)


@hydra.main(config_path="conf", config_name="predict", version_base="1.3")
def main(config: DictConfig) -> None:
    """One run."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, PredictConfig)
