"""Fetch a competition's files from Kaggle: python download.py [competition=NAME]; --help."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import DownloadConfig


def task(config: DownloadConfig, run_dir: Path) -> None:
    """Download, unpack and check, unless that is done."""
    from paddy_lightning.download import run_download

    run_download(config)


@hydra.main(config_path="conf", config_name="download", version_base="1.3")
def main(config: DictConfig) -> None:
    """One competition."""
    run_job(config, task)


if __name__ == "__main__":
    run_command(main, DownloadConfig)
