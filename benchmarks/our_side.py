"""The same work as this project does it, through its own modules and Lightning's Trainer."""

import logging
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import build_model, param_groups
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.quiet import small_talk_left_out
from paddy_lightning.training.build import build, make_trainer, phases_of, split_readable
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.train import train

Size = tuple[int, int]
PRECISION = "16-mixed" if torch.cuda.is_available() else "32-true"


class OurSide:
    """A run on a folder with the trees ``train`` and ``valid``.

    Args:
        root: The folder.
        arch: A timm name.
        presize: ``(height, width)``.
        size: Likewise, of what the network sees.
        num_workers: Processes that open pictures; None for the default.
        cache: A folder for presized pictures, or off.
    """

    def __init__(
        self,
        root: Path,
        arch: str,
        presize: Size,
        size: Size,
        num_workers: int | None = None,
        cache: str = "off",
    ) -> None:
        self.quiet = ExitStack()  # as long as this lasts
        self.quiet.enter_context(small_talk_left_out())
        logging.getLogger("paddy_lightning").setLevel(logging.WARNING)
        self.config = TrainConfig(
            data=DataConfig(Source.folder, str(root)),
            arch=arch,
            weights="none",
            presize=presize,
            size=size,
            epochs=1,
            freeze_epochs=0,
            precision=PRECISION,
            num_workers=num_workers,
            cache=cache,
            tta=True,
        )
        data = open_data(self.config.data)
        self.table = split_readable(self.config, data)
        self.module, self.datamodule = build(self.config, data, self.table, Classifier)
        self.folder = tempfile.TemporaryDirectory()

    def train(self) -> None:
        """An epoch over the training files, workers started anew."""
        self._trainer(limit_val_batches=0).fit(self.module, datamodule=self.datamodule)

    def run(self, epochs: int) -> None:
        """From the command to its end: all that paddy train does."""
        with tempfile.TemporaryDirectory() as folder:
            train(replace(self.config, epochs=epochs, tta=False), Path(folder, "run"))

    def validate(self) -> None:
        """Over the validation files."""
        self._trainer().validate(self.module, datamodule=self.datamodule, verbose=False)

    def tta(self, count: int) -> None:
        """Four augmented views and the plain one, of some validation files."""
        rows = self.datamodule.valid_rows
        self.datamodule.valid_rows = rows[:count]
        predict_views(self.module, self.datamodule, PRECISION)
        self.datamodule.valid_rows = rows

    def load(self) -> None:
        """An epoch of batches that nobody trains on, on the device, not augmented."""
        self.datamodule.trainer = self._trainer()
        for batch in self.datamodule.train_dataloader():
            batch.image.to(self.module.device, non_blocking=True)

    def _trainer(self, **arguments: Any) -> pl.Trainer:
        callbacks: list[pl.Callback] = [FineTune(phases_of(self.config))]
        num_train = len(self.datamodule.train_rows)
        config = replace(self.config, trainer=arguments)
        return make_trainer(config, Path(self.folder.name), num_train, callbacks)


class BareModel:
    """The network alone: forward, backward and optimizer on batches that are ready.

    Args:
        arch: A timm name.
        size: ``(height, width)`` of the pictures.
    """

    def __init__(self, arch: str, size: Size) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = build_model(arch, 10, "none", size).to(device)
        self.optimizer = torch.optim.AdamW(param_groups(self.model), lr=1e-3, fused=True)
        self.scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
        pictures = torch.randn(64, 3, *size, device=device)
        self.pictures = pictures.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(10, (64,), device=device)

    def run(self, epochs: int, steps: int, valid: int) -> None:
        """In every epoch, some steps and some batches to validate on."""
        for _ in range(epochs):
            self.train(steps)
            self.validate(valid)

    def validate(self, batches: int) -> None:
        """The forward pass alone."""
        device = self.pictures.device.type
        self.model.eval()
        with torch.no_grad(), torch.autocast(device, torch.float16, enabled=device == "cuda"):
            for _ in range(batches):
                self.model(self.pictures)
        self.model.train()

    def train(self, steps: int) -> None:
        """Some steps."""
        device = self.pictures.device.type
        for _ in range(steps):
            with torch.autocast(device, torch.float16, enabled=device == "cuda"):
                logits = self.model(self.pictures)
            self.scaler.scale(F.cross_entropy(logits.float(), self.labels)).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
