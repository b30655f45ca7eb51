"""Train: python train.py data=folder data.root=PICTURES arch=convnext_small; --help lists all."""

from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig

from paddy_lightning.command_line import run_command, run_job
from paddy_lightning.config import TrainConfig


def task(config: TrainConfig, run_dir: Path) -> None:
    """Train here, or in a process a device."""
    from paddy_lightning.check import check
    from paddy_lightning.launch import needs_ranks, run_ranks
    from paddy_lightning.run_folder import whole_config

    whole = whole_config(config)
    # A wrong value is told before the slow imports; a run that goes on has weights of its own.
    check(replace(whole, weights="none") if config.resume else whole)
    if needs_ranks(whole):
        run_ranks(__file__, whole, run_dir)
        return
    from paddy_lightning.training import train

    train(config, run_dir)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float | None:
    """One run; or one job of a sweep, with its error rate."""
    from paddy_lightning.sweep import in_sweep, run_as_process

    return run_as_process(__file__, config) if in_sweep() else run_job(config, task)


if __name__ == "__main__":
    run_command(main, TrainConfig)
