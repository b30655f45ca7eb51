"""Compare runs: python compare.py runs=SWEEP_FOLDER, or runs=[RUN,RUN]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import CompareConfig


def task(config: CompareConfig, run_dir: Path) -> None:
    """Write the comparison, and print it."""
    from paddy_lightning.comparison_page import run_compare

    run_compare(config, run_dir)


@hydra.main(config_path="conf", config_name="compare", version_base="1.3")
def main(config: DictConfig) -> None:
    """One comparison."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, CompareConfig)
