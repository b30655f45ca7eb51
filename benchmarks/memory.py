"""Memory of a process and its workers together; a script, since it must begin with nothing.

``python -m benchmarks.memory listed 100000``: the most while it loads from so many files.
``python -m benchmarks.memory epochs 6``: after each epoch of a training.
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
from PIL import Image

from benchmarks.our_side import OurSide, quiet
from benchmarks.pictures import pictures
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.table import open_data
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.readable import split_readable

BATCHES = 20


def megabytes() -> float:
    """Of this process and all it started; what they share counts once (PSS, Linux)."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    lines = [
        line
        for process in (own, *children)
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def listed(count: int) -> float:
    """The most while batches come from a folder of ``count`` small pictures, cache and all."""
    side = OurSide(pictures(), "resnet10t", (64, 64), (32, 32), num_workers=2)
    with tempfile.TemporaryDirectory() as folder:
        link_pictures(Path(folder, "pictures"), count)
        config = replace(
            side.config,
            data=DataConfig(Source.folder, f"{folder}/pictures"),
            cache=f"{folder}/cache",
        )
        data = open_data(config.data)
        table = split_readable(config, data)
        _, datamodule = build(config, data, table, Classifier)
        datamodule.trainer = make_trainer(config, Path(folder), count, [])
        most = 0.0
        for number, _ in enumerate(datamodule.train_dataloader(), start=1):
            most = max(most, megabytes())
            if number == BATCHES:
                break
    return most


def link_pictures(root: Path, count: int) -> None:
    """Two classes of pictures, most of them hard links to a few."""
    for label in ("one", "other"):
        (root / label).mkdir(parents=True)
        first = root / label / "first_of_them.jpg"
        Image.new("RGB", (64, 64), "green" if label == "one" else "brown").save(first)
        for number in range(count // 2 - 1):
            os.link(first, root / label / f"a_name_as_cameras_give_them_{number:06}.jpg")


def epochs(count: int) -> list[float]:
    """After each epoch."""
    found = []

    class Look(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            found.append(megabytes())

    with tempfile.TemporaryDirectory() as folder:
        side = OurSide(pictures(), "resnet10t", (480, 480), (64, 64), 2, cache=folder)
        config = replace(side.config, epochs=count)
        callbacks = [FineTune(phases_of(config)), Look()]
        trainer = make_trainer(config, Path(folder), len(side.datamodule.train_rows), callbacks)
        trainer.fit(side.module, datamodule=side.datamodule)
    return found


if __name__ == "__main__":
    what, number = sys.argv[1], int(sys.argv[2])
    with quiet():
        answers = [listed(number)] if what == "listed" else epochs(number)
    print(*(f"{answer:.0f}" for answer in answers))
