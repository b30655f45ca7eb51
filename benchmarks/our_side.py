"""The same work as this project does it, through its own modules and Lightning's Trainer.

With the memory that tensors leave kept, as all of its functions do; the bare network has that, too.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import DataLoader

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.table import open_data
from paddy_lightning.memory import memory_kept
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import build_model
from paddy_lightning.network.param_groups import param_groups
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.quiet import small_talk_left_out
from paddy_lightning.runs.trainer import usable_precision
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.profiling import EpochProfiler
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.train import train

Size = tuple[int, int]
PRECISION = usable_precision("16-mixed")
STEPS_ALONE: dict[str, Any] = {"limit_val_batches": 0, "enable_checkpointing": False}
MIXED = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the lines of a run, and without Lightning's."""
    ours = logging.getLogger("paddy_lightning")
    level = ours.level
    ours.setLevel(logging.WARNING)
    try:
        with small_talk_left_out():
            yield
    finally:
        ours.setLevel(level)


class OurSide:
    """A run on a folder with the trees ``train`` and ``valid``.

    Args:
        root: The folder.
        arch: A timm name.
        presize: ``(height, width)``.
        size: Likewise, of what the network sees.
        num_workers: Processes that open pictures; None for the default.
        cache: A folder for presized pictures, or off.
        precision: As Lightning names it; mixed is for a GPU alone.
    """

    def __init__(
        self,
        root: Path,
        arch: str,
        presize: Size,
        size: Size,
        num_workers: int | None = None,
        cache: str = "off",
        precision: str = PRECISION,
    ) -> None:
        self.config = TrainConfig(
            data=DataConfig(Source.folder, str(root)),
            arch=arch,
            weights="none",
            presize=presize,
            size=size,
            epochs=1,
            freeze_epochs=0,
            precision=precision,
            num_workers=num_workers,
            cache=cache,
            tta=True,
        )
        data = open_data(self.config.data)
        self.table = split_readable(self.config, data)
        self.module, self.datamodule = build(self.config, data, self.table, Classifier)
        self.folder = tempfile.TemporaryDirectory()

    @memory_kept()
    def train(self) -> None:
        """An epoch over the training files, workers started anew."""
        self._trainer(limit_val_batches=0).fit(self.module, datamodule=self.datamodule)

    @memory_kept()
    def steps(self) -> float:
        """Seconds of the steps of an epoch, with workers that an epoch before has started."""
        clock, config = _SecondEpoch(), replace(self.config, epochs=2)
        trainer = self._trainer(config, [clock], **STEPS_ALONE)
        trainer.fit(self.module, datamodule=self.datamodule)
        return clock.seconds

    def shares(self) -> str:
        """Where the time of an epoch goes, as ``profile=true`` tells it."""
        trainer = self._trainer(replace(self.config, epochs=2, profile=True), **STEPS_ALONE)
        trainer.fit(self.module, datamodule=self.datamodule)
        profiler: Any = trainer.profiler  # type: ignore[attr-defined]  # set unseen
        assert isinstance(profiler, EpochProfiler)
        table = profiler.table()
        parts = zip(table["part"], table["seconds"], table["share"], strict=True)
        return ", ".join(f"{part} {seconds:.2f} s ({share:.0%})" for part, seconds, share in parts)

    def run(self, epochs: int) -> None:
        """From the command to its end: all that paddy train does."""
        with tempfile.TemporaryDirectory() as folder:
            train(replace(self.config, epochs=epochs, tta=False), Path(folder, "run"))

    @memory_kept()
    def validate(self) -> None:
        """Over the validation files."""
        self._trainer().validate(self.module, datamodule=self.datamodule, verbose=False)

    @memory_kept()
    def tta(self, count: int) -> None:
        """Four augmented views and the plain one, of some validation files."""
        shown = self.datamodule.shown()
        shown = shown._replace(rows=shown.rows[:count])
        predict_views(self.module.model, shown, self.config.precision)

    def load(self) -> None:
        """An epoch of batches that nobody trains on, on the device, not augmented."""
        self._read(self._loader())

    def load_again(self) -> float:
        """Seconds of such an epoch, with workers that an epoch before has started."""
        loader = self._loader()
        self._read(loader)
        start = now()
        self._read(loader)
        return now() - start

    def _loader(self) -> DataLoader[Batch]:
        self.datamodule.trainer = self._trainer()
        return self.datamodule.train_dataloader()

    def _read(self, loader: DataLoader[Batch]) -> None:
        for batch in loader:
            batch.image.to(self.module.device, non_blocking=True)

    def _trainer(
        self,
        config: TrainConfig | None = None,
        callbacks: Sequence[pl.Callback] = (),
        **arguments: Any,
    ) -> pl.Trainer:
        config = replace(config or self.config, trainer=arguments)
        with_phases = [FineTune(phases_of(config)), *callbacks]
        num_train = len(self.datamodule.train_rows)
        return make_trainer(config, Path(self.folder.name), num_train, with_phases)


class _SecondEpoch(pl.Callback):
    """Times it."""

    seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        if trainer.current_epoch == 1:
            self.seconds = -now()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        if trainer.current_epoch == 1:
            self.seconds += now()


def now() -> float:
    """Seconds, when the device has done all it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class BareModel:
    """The network alone: forward, backward and optimizer on batches that are ready.

    Args:
        arch: A timm name.
        size: ``(height, width)`` of the pictures.
        precision: As Lightning names it; mixed is for a GPU alone.
        weights_last: Whether the weights, too, lie with the channels last.
    """

    def __init__(
        self, arch: str, size: Size, precision: str = PRECISION, weights_last: bool = False
    ) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = build_model(arch, 10, "none", size).to(device)
        layout = torch.channels_last if weights_last else torch.preserve_format
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(param_groups(self.model), lr=1e-3, fused=True)
        digits = MIXED.get(usable_precision(precision))
        self.scaler = torch.amp.GradScaler(device, enabled=digits is torch.float16)
        self.autocast = partial(torch.autocast, device, digits, enabled=digits is not None)
        pictures = torch.randn(64, 3, *size, device=device)
        self.pictures = pictures.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(10, (64,), device=device)

    @memory_kept()
    def run(self, epochs: int, steps: int, valid: int) -> None:
        """In every epoch, some steps and some batches to validate on."""
        for _ in range(epochs):
            self.train(steps)
            self.validate(valid)

    @memory_kept()
    def validate(self, batches: int) -> None:
        """The forward pass alone."""
        self.model.eval()
        with torch.no_grad(), self.autocast():
            for _ in range(batches):
                self.model(self.pictures)
        self.model.train()

    @memory_kept()
    def train(self, steps: int) -> None:
        """Some steps."""
        for _ in range(steps):
            with self.autocast():
                logits = self.model(self.pictures)
            self.scaler.scale(F.cross_entropy(logits.float(), self.labels)).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
