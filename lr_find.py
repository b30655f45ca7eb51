"""Find a learning rate: python lr_find.py [the knobs of train.py]; --help lists all."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import TrainConfig


def task(config: TrainConfig, run_dir: Path) -> None:
    """Search, and print the four rates."""
    from paddy_lightning.check import check

    check(config)
    from paddy_lightning.training import find_lr

    find_lr(config, run_dir)


@hydra.main(config_path="conf", config_name="lr_find", version_base="1.3")
def main(config: DictConfig) -> None:
    """One search."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, TrainConfig)
