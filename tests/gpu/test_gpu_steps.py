"""The steps of a training: nothing waits for the device, and 16-mixed keeps its footing."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from small import small
from torch.profiler import ProfilerActivity, profile, record_function

from paddy_lightning.config import TrainConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.run_log import READ_EVERY, RunLog

WATCHED = range(1, 23)  # steps; the first moves the means to the device, every 50th is read
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
WHERE = [
    ("cpu", "32-true"),
    *(pytest.param("cuda", how, marks=pytest.mark.gpu) for how in ("16-mixed", "bf16-mixed")),
]


class Steps(pl.Callback):
    """Watches the ``WATCHED`` steps: what the CPU asks of the device, and what goes between them.

    Attributes:
        asked: How often, by the name of the call.
        moved: Likewise, of the copies.
    """

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        more = [ProfilerActivity.CUDA] if self.on_gpu else []
        self.profile = profile(activities=[ProfilerActivity.CPU, *more])
        self.range = record_function("watched")
        self.asked: Counter[str] = Counter()
        self.moved: Counter[str] = Counter()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == WATCHED.start:
            self.profile.__enter__()
            self.range.__enter__()
            self._refuse_waits("error")

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == WATCHED.stop - 1:
            self._refuse_waits("default")
            self.range.__exit__(None, None, None)
            self.profile.__exit__(None, None, None)
            self._count()

    def _refuse_waits(self, mode: str) -> None:
        """A second witness: torch's own operations that wait raise an error."""
        if self.on_gpu:
            torch.cuda.set_sync_debug_mode(mode)

    def _count(self) -> None:
        """The profiler waits as well, outside of the range."""
        events: Any = self.profile.events()
        on_cpu = [event for event in events if event.device_type.name == "CPU"]
        watched = next(event.time_range for event in on_cpu if event.name == "watched")
        self.asked.update(
            event.name for event in on_cpu if watched.start <= event.time_range.start <= watched.end
        )
        self.moved.update(event.name for event in events if event.name.startswith("Memcpy "))


def fitted(
    config: TrainConfig,
    folder: Path,
    callbacks: list[pl.Callback],
    change: Callable[[pl.Trainer], object] = id,
) -> pl.Trainer:
    """Train as a run does, on what ``change`` has made of its Trainer."""
    data = open_data(config.data)
    table = split_readable(config, data)
    module, datamodule = build(config, data, table, Classifier)
    log = RunLog(folder, [0.5] * 3, [0.5] * 3)
    callbacks = [FineTune(phases_of(config)), log, *callbacks]
    trainer = make_trainer(config, folder, len(datamodule.train_rows), callbacks)
    change(trainer)
    trainer.fit(module, datamodule=datamodule)
    return trainer


@pytest.mark.parametrize(("device", "precision"), WHERE, indirect=["device"])
def test_nothing_waits_for_the_device(
    stripes: Path, tmp_path: Path, device: str, precision: str
) -> None:
    """Between two readings of the loss, counted by the profiler: no call that waits, no copy back,
    and none there from memory that is not pinned."""
    assert WATCHED.stop < READ_EVERY
    config = small(
        stripes,
        arch="resnet10t",
        batch_size=2,
        epochs=1,
        freeze_epochs=0,
        precision=precision,
        num_workers=1,
        trainer={"accelerator": "gpu" if device == "cuda" else "cpu"},
    )
    steps = Steps(device)
    try:
        fitted(config, tmp_path, [steps])
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert steps.asked["aten::cross_entropy_loss"] >= len(WATCHED)
    assert not {name: steps.asked[name] for name in WAITS if steps.asked[name]}
    told = dict(steps.moved)
    assert not [name for name in told if "DtoH" in name or "Pageable" in name], told
    batches = sum(count for name, count in told.items() if "HtoD" in name)
    assert batches >= (3 * len(WATCHED) if device == "cuda" else 0), told


class Scales(pl.Callback):
    """The scaler's factor after every step, whether the step changed the weights, and how many
    the optimizer has counted."""

    def __init__(self) -> None:
        self.scales: list[float] = []
        self.moved: list[bool] = []
        self.counted = 0.0
        self._weights = torch.empty(0)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self._weights = torch.nn.utils.parameters_to_vector(module.parameters()).detach().clone()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        weights = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
        self.moved.append(not torch.equal(weights, self._weights))
        self.scales.append(trainer.precision_plugin.scaler.get_scale())
        state = trainer.optimizers[0].state.values()
        self.counted = max(float(of["step"]) for of in state) if state else 0.0


def test_the_scaler_skips_what_overflows_and_grows_again(
    stripes: Path, tmp_path: Path, device: str
) -> None:
    """16-mixed with the fused optimizer, from a factor that is far too large."""
    config = small(
        stripes,
        batch_size=4,
        epochs=4,
        freeze_epochs=0,
        trainer={"accelerator": "gpu" if device == "cuda" else "cpu"},
    )
    scaler = torch.amp.GradScaler(device, init_scale=2.0**40, growth_interval=3)
    scales = Scales()

    def with_scaler(trainer: pl.Trainer) -> None:
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", device, scaler)

    trainer = fitted(config, tmp_path, [scales], with_scaler)
    assert trainer.optimizers[0].param_groups[0]["fused"]
    before = [2.0**40, *scales.scales]
    skipped = [after < scale for scale, after in zip(before, scales.scales, strict=False)]
    assert skipped[0] and all(
        after == scale / 2
        for after, scale, was in zip(scales.scales, before, skipped, strict=False)
        if was
    )
    assert scales.moved == [not was for was in skipped]
    assert scales.counted == scales.moved.count(True) > len(skipped) // 4
    assert any(after == 2 * scale for after, scale in zip(scales.scales, before, strict=False))
    assert min(scales.scales) >= 1
