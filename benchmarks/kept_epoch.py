"""``python -m benchmarks.kept_epoch BEAN RICE``: which epoch to keep, by folder of photos.

Of each folder three parts: three fifths train, and of the rest one half chooses the epoch and the
other, which neither trained nor chose, judges it; five splits and seeds, 200 halves of each.
"""

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from pytorch_lightning import Callback
from sklearn.model_selection import train_test_split
from torch import Tensor

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.table import open_data
from paddy_lightning.network.answers import logits_of
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.quiet import small_talk_left_out
from paddy_lightning.training.averaging import WeightAverage
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.fine_tune import FineTune

SEEDS = range(5)
HALVES = 200
KNOBS: dict[str, Any] = {
    "arch": "tf_efficientnet_lite0",
    "presize": 192,
    "size": 128,
    "epochs": 10,
    "lr": 1e-2,
    "lr_mult": 10.0,
    "batch_size": 16,
    "num_workers": 0,
}


class Remembering(Classifier):
    """Keeps what it says of the pictures it validates on, epoch by epoch."""

    def on_validation_epoch_start(self) -> None:
        """Begin a list."""
        super().on_validation_epoch_start()
        self.said: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Remember a batch."""
        self.said.append(F.log_softmax(logits_of(self.model, batch.image), dim=1))
        return super().validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Remember the epoch."""
        super().on_validation_epoch_end()
        if not self.trainer.sanity_checking:
            self.epochs = [*getattr(self, "epochs", []), torch.cat(self.said)]


def losses_and_errors(root: str, seed: int, ema: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of every epoch and picture that did not train, float and bool [epochs, pictures]."""
    config = TrainConfig(DataConfig(Source.folder, root), seed=seed, ema=ema, **KNOBS)
    data = open_data(config.data)
    held = train_test_split(
        np.arange(len(data.train)), test_size=0.4, stratify=data.train["label"], random_state=seed
    )[1]
    table = data.train.assign(is_valid=data.train.index.isin(held))
    module, datamodule = build(config, data, table, Remembering)
    callbacks: list[Callback] = [FineTune(phases_of(config), config.seed, config.bn)]
    callbacks += [WeightAverage(phases_of(config))] if ema else []
    with tempfile.TemporaryDirectory() as folder, small_talk_left_out():
        trainer = make_trainer(config, Path(folder), len(table) - len(held), callbacks)
        trainer.fit(module, datamodule=datamodule)
    said = torch.stack(module.epochs)
    truth = torch.from_numpy(datamodule.pictures.labels[datamodule.valid_rows])
    losses = -said.gather(2, truth[None, :, None].expand(len(said), -1, 1))[..., 0]
    return losses.numpy(), (said.argmax(2) != truth).numpy()


def judged(losses: np.ndarray, wrong: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """A row a half and rule: the chosen epoch's ``error`` and ``loss`` on the other half."""
    rows = []
    for _ in range(HALVES):
        order = rng.permutation(wrong.shape[1])
        choose, judge = np.array_split(order, 2)
        error, loss = wrong[:, choose].mean(1), losses[:, choose].mean(1)
        chosen = {
            "error": np.lexsort((loss, error))[0],
            "loss": np.lexsort((error, loss))[0],
            "last": len(error) - 1,
        }
        for rule, epoch in chosen.items():
            found = {"error": wrong[epoch, judge].mean(), "loss": losses[epoch, judge].mean()}
            rows.append({"keep": rule} | found)
    return pd.DataFrame(rows)


def main(roots: list[str]) -> None:
    """Print a row for each folder, with and without ``ema=true``, and each rule."""
    logging.getLogger("paddy_lightning").setLevel(logging.WARNING)
    rng = np.random.default_rng(0)
    for root in roots:
        for ema in (False, True):
            of_runs = [judged(*losses_and_errors(root, seed, ema), rng) for seed in SEEDS]
            means = pd.concat(of_runs).groupby("keep", sort=False).mean()
            for rule, row in means.iterrows():
                photos = f"{Path(root).name}  ema={str(ema).lower()}"
                print(f"{photos}  keep={rule}  error {row['error']:.4f}  loss {row['loss']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
