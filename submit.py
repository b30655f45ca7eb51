"""Send a run's submission.csv to Kaggle: python submit.py run=RUN message=TEXT; --help."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import SubmitConfig


def task(config: SubmitConfig, run_dir: Path) -> None:
    """Check, ask, send, and write the score into the run."""
    from paddy_lightning.submit import run_submit

    run_submit(config)


@hydra.main(config_path="conf", config_name="submit", version_base="1.3")
def main(config: DictConfig) -> None:
    """One submission."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, SubmitConfig)
