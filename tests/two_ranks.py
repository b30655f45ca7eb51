"""One of two ranks, each on a node: trains, and writes down what it saw and ended with."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.ranks import rank
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.readable import split_readable


class Witness(pl.Callback):
    """Which pictures each epoch trained on, which body weights moved, and what seeded dropout."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.bodies: list[torch.Tensor] = []
        self.seeds: list[int] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.seen.append([])
        self.bodies.append(pl_module.model.body.conv1[0].weight.detach().clone())

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.seen[-1] += batch.index.tolist()
        self.seeds.append(torch.initial_seed())


def main(root: str, out: str) -> None:
    config = TrainConfig(
        data=DataConfig(Source.folder, root), arch="resnet10t", weights="none",
        presize=(48, 40), size=(40, 32), epochs=2, freeze_epochs=1, batch_size=16, num_workers=0,
        lr=1e-2, trainer={"num_nodes": 2, "accelerator": "cpu"},
    )  # fmt: skip
    data = open_data(config.data)
    module, datamodule = build(config, data, split_readable(config, data), Classifier)
    witness = Witness()
    callbacks: list[pl.Callback] = [witness, FineTune(phases_of(config), config.seed)]
    trainer = make_trainer(config, Path(out, "run"), len(datamodule.train_rows), callbacks)
    trainer.fit(module, datamodule=datamodule)
    told: dict[str, Any] = {
        "state": module.state_dict(),
        "seen": witness.seen,
        "bodies": witness.bodies,
        "seeds": witness.seeds,
    }
    told |= {name: float(trainer.callback_metrics[name]) for name in ("error_rate", "valid_loss")}
    torch.save(told, Path(out, f"rank{rank()}.pt"))


if __name__ == "__main__":
    main(*sys.argv[1:])
