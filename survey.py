"""Look at a data set: python survey.py data=folder data.root=PICTURES [show=true]; --help."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import SurveyConfig


def task(config: SurveyConfig, run_dir: Path) -> None:
    """Check every file, or show the pipeline at work."""
    if config.show:
        from paddy_lightning.show import run_show

        run_show(config, run_dir)
    else:
        from paddy_lightning.survey import run_survey

        run_survey(config, run_dir)


@hydra.main(config_path="conf", config_name="survey", version_base="1.3")
def main(config: DictConfig) -> None:
    """One survey."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, SurveyConfig)
