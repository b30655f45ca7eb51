"""Look into a finished run: python interpret.py run=RUN_FOLDER."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import InterpretConfig


def task(config: InterpretConfig, run_dir: Path) -> None:
    """Write tables and figures into the run folder, and print the card."""
    from paddy_lightning.interpret import run_interpret

    run_interpret(config)


@hydra.main(config_path="conf", config_name="interpret", version_base="1.3")
def main(config: DictConfig) -> None:
    """One run."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, InterpretConfig)
