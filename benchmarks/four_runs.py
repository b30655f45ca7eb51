"""The runs of a sweep, one after the other in one process, by ``python -m benchmarks.four_runs``.

``FOLDER SEEDS KNOB=VALUE ...``: what starting a process for each job can be measured against.
"""

import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.training.train import train


def main(folder: str, seeds: str, *words: str) -> None:
    """Train once a seed."""
    knobs: dict[str, Any] = OmegaConf.to_container(OmegaConf.from_dotlist(list(words)))  # type: ignore[assignment]
    root = knobs.pop("data")["root"]
    for seed in map(int, seeds.split(",")):
        data = DataConfig(Source.folder, root)
        train(TrainConfig(data, seed=seed, **knobs), Path(folder) / str(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
