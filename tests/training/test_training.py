"""Real runs, as a notebook would start them."""

import itertools
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from small import calibrated, small
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from paddy_lightning.choices import DataConfig, Resize, Source
from paddy_lightning.data.augment import Augment
from paddy_lightning.data.cache import Cache
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.folders import labelled_table
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.network.answers import probabilities_of
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.prediction.predict import predict
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.changes import told_of_changes
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.profiling import PARTS, EpochProfiler, advice
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.run_log import RunLog
from paddy_lightning.training.train import train


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("outputs") / "run"
    train(small(stripes, tta=True), run_dir)
    return run_dir


def test_the_run_folder_holds_all_that_is_needed(run: Path) -> None:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert events and names - events == {
        "config.yaml",
        "checkpoints/best.ckpt",
        "classes.csv",
        "confused.csv",
        "figures/augmented_batch.png",
        "figures/confusion_matrix.png",
        "figures/learning_curves.png",
        "figures/reliability.png",
        "figures/top_losses.png",
        "interpretation.md",
        "metrics.csv",
        "pictures.csv",
        "summary.json",
        "valid_predictions.csv",
        "valid_right.csv",
    }


def test_the_summary_agrees_with_the_files(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "done"
    assert (summary["num_train"], summary["num_valid"], summary["epochs"]) == (48, 12, 3)
    assert summary["arch"].startswith("mobilenetv3_small_050.")
    assert summary["seconds"] > 0 and summary["peak_memory_mb"] > 100
    assert summary["images_per_second"] > 0 and summary["versions"]["torch"]
    assert summary["tta_error_rate"] is not None and summary["seed"] == 42
    valid = pd.read_csv(run / "valid_predictions.csv")
    assert list(valid)[:5] == ["file", "label", "predicted", "confidence", "loss"]
    classes = list(valid)[5:]
    assert classes == ["across", "down", "slanted"]
    assert np.allclose(valid[classes].sum(axis=1), 1, atol=1e-5)
    wrong = (valid["label"] != valid["predicted"]).mean()
    assert summary["error_rate"] == pytest.approx(wrong)
    assert summary["valid_loss"] == pytest.approx(valid["loss"].mean(), rel=1e-5)
    epochs = pd.read_csv(run / "metrics.csv")
    assert epochs["epoch"].tolist() == [1, 2, 3]
    best = epochs.set_index("epoch").loc[summary["kept_epoch"]]
    assert best["error_rate"] == epochs["error_rate"].min()
    assert best["error_rate"] == pytest.approx(summary["error_rate"], abs=1e-6)
    assert best["valid_loss"] == pytest.approx(summary["valid_loss"], rel=1e-4)


def test_the_checkpoint_is_plain_and_knows_all(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert not checkpoint.get("optimizer_states")
    facts = checkpoint["hyper_parameters"]
    assert facts["class_names"] == ["across", "down", "slanted"]
    assert (facts["presize"], facts["size"]) == ([48, 40], [40, 32])
    assert facts["mean"] == [0.485, 0.456, 0.406] and facts["resize"] == "squish"
    assert facts["config"]["lr"] == 1e-2


def test_tensorboard_has_the_run(run: Path) -> None:
    events = EventAccumulator(str(run))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"train_loss", "valid_loss", "error_rate", "images_per_second"} <= scalars
    for group in ("body", "body_no_decay", "head", "head_no_decay"):
        assert {f"lr-AdamW/{group}", f"lr-AdamW/{group}-momentum"} <= scalars
    assert "augmented_batch" in events.Tags()["images"]
    picture = events.Images("augmented_batch")[0]
    assert picture.width > 8 * 32 and picture.height > 2 * 40
    momenta = [event.value for event in events.Scalars("lr-AdamW/head-momentum")]
    assert all(0.85 <= momentum <= 0.95 for momentum in momenta)


def test_predicting_the_validation_pictures_gives_the_runs_own_predictions(
    run: Path, stripes: Path
) -> None:
    """Through a checkpoint and another process of opening files: the same numbers, calibrated."""
    valid = pd.read_csv(run / "valid_predictions.csv").set_index("file")
    found = predict(run, stripes / "train_images", num_workers=2).set_index("file")
    found = found.loc[valid.index]
    classes = ["across", "down", "slanted"]
    assert np.allclose(found[classes], calibrated(run), atol=1e-5)
    assert (found["label"] == valid["predicted"]).all()


@pytest.mark.parametrize("resize", Resize)
def test_every_resize_method_trains_and_predicts(
    stripes: Path, tmp_path: Path, resize: Resize
) -> None:
    summary = train(small(stripes, resize=resize, epochs=1, freeze_epochs=0), tmp_path / "run")
    assert summary["status"] == "done"
    assert len(predict(tmp_path / "run", tta="mean")) == 8


def test_the_same_seed_gives_the_same_numbers_with_any_number_of_workers(
    stripes: Path, tmp_path: Path
) -> None:
    runs = [
        train(small(stripes, num_workers=workers, resize=resize), tmp_path / f"{resize}{workers}")
        for resize in ("squish", "crop")
        for workers in (0, 2)
    ]
    for resize, (first, second) in (("squish", runs[:2]), ("crop", runs[2:])):
        assert first["valid_loss"] == second["valid_loss"], resize
        states = [
            torch.load(tmp_path / f"{resize}{w}" / "checkpoints" / "best.ckpt", weights_only=True)
            for w in (0, 2)
        ]
        for name, tensor in states[0]["state_dict"].items():
            assert torch.equal(tensor, states[1]["state_dict"][name]), name


def test_another_seed_keeps_the_split(stripes: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        train(small(stripes, seed=seed, epochs=1, freeze_epochs=0), tmp_path / str(seed))
    first, second = (pd.read_csv(tmp_path / s / "valid_predictions.csv") for s in ("1", "2"))
    assert first["file"].equals(second["file"])
    assert not first["loss"].equals(second["loss"])


def test_a_folder_with_a_run_is_not_used_again(stripes: Path, run: Path) -> None:
    with pytest.raises(UserError, match="holds a run already"):
        train(small(stripes), run)


def test_broken_pictures_are_refused_before_anything_is_written(
    stripes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(stripes, tmp_path / "data")
    (data / "train_images" / "slanted" / "slanted07.jpg").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"1 pictures .* bad_images=skip: .*slanted07\.jpg"):
        train(small(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Fetches(TorchDispatchMode):
    """Numbers that Python asks tensors for; and, if told, shapes that depend on such."""

    def __init__(self, shapes: bool = False) -> None:
        super().__init__()
        self.shapes = shapes
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        is_number = func is torch.ops.aten._local_scalar_dense.default and args[0].numel()
        if is_number or (self.shapes and torch.Tag.dynamic_output_shape in func.tags):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Copies(TorchDispatchMode):
    """Tensors that go from the CPU to "meta"."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        came_from = args[0].device.type if args and isinstance(args[0], Tensor) else ""
        if isinstance(result, Tensor) and came_from == "cpu" and result.is_meta:
            self.seen.append(str(func))
        return result


class Numbers(TorchFunctionMode):
    """Python's numbers that become tensors, which are copied where they are not for the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        if func in (torch.tensor, torch.as_tensor):
            told = kwargs or {}
            self.seen.append(f"{func} {told.get('device', '')}".strip())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("extra", ["", "RandomErasing"])
def test_the_device_is_not_made_to_wait_between_the_readings_of_the_loss(
    stripes: Path, tmp_path: Path, extra: str
) -> None:
    """No number is fetched from a tensor during 22 steps, with an augmentation by Kornia too,
    and none is made one where the network is."""
    if extra and version("kornia").startswith("0.8."):
        pytest.skip("an augmentation by Kornia: 0.8 fetches numbers by itself")
    fetches, numbers = Fetches(), Numbers()

    class WatchEverySteps(pl.Callback):
        """From the second step of the first epoch to the one before the last."""

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
            if index == 1 and trainer.current_epoch == 0:
                fetches.__enter__()
                numbers.__enter__()

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
        ) -> None:
            if index == 22 and trainer.current_epoch == 0:
                numbers.__exit__(None, None, None)
                fetches.__exit__(None, None, None)

    augment: list[Any] = [{extra: {"p": 0.5}}] if extra else []
    config = small(stripes, batch_size=2, epochs=1, freeze_epochs=0, augment=augment)
    data = open_data(config.data)
    table = split_readable(config, data)
    module, datamodule = build(config, data, table, Classifier)
    callbacks = [
        FineTune(phases_of(config)),
        RunLog(tmp_path, [0.5] * 3, [0.5] * 3),
        WatchEverySteps(),
    ]
    trainer = make_trainer(config, tmp_path, 48, callbacks)
    trainer.fit(module, datamodule=datamodule)
    assert not fetches.seen, len(fetches.seen)
    assert not [seen for seen in numbers.seen if seen.endswith(" cpu")], numbers.seen
    module.eval()
    batch = next(iter(datamodule.val_dataloader()))
    with Fetches(shapes=True) as fetches:
        module.validation_step(datamodule.transfer_batch_to_device(batch, module.device, 0), 0)
    assert not fetches.seen, fetches.seen


def test_nothing_but_batches_is_copied_to_the_device(stripes: Path, tmp_path: Path) -> None:
    """Each copy would wait for all that is queued there.

    Seen on "meta", a device without numbers: who asks it for one gets an error.
    """
    config = small(stripes, tta=True)
    data = open_data(config.data)
    module, datamodule = build(config, data, split_readable(config, data), Classifier)
    module.to("meta")
    batch = next(iter(datamodule.train_dataloader()))

    stages: dict[str, Callable[[Batch, int], object]] = {
        "training": module.training_step,
        "validating": module.validation_step,
    }
    for stage, step in stages.items():
        module.train(stage == "training")
        state = {name: name == stage for name in stages}
        datamodule.trainer = Mock(current_epoch=0, global_rank=0, world_size=1, **state)
        for _ in range(2):
            copies, numbers = Copies(), Numbers()
            with copies, numbers:
                step(datamodule.transfer_batch_to_device(batch, torch.device("meta"), 0), 0)
        assert len(copies.seen) == len(batch) and not numbers.seen, (stage, copies, numbers)
    shown = datamodule.shown()
    for _ in range(2):
        copies, numbers = Copies(), Numbers()
        with copies, numbers:
            views = shown.views(batch, torch.device("meta"))
            probabilities_of(module.model, views.flatten(0, 1))
    assert len(copies.seen) == 2 and not numbers.seen, (copies, numbers)


def test_a_size_beyond_presize_is_told(stripes: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    data = open_data(DataConfig(Source.paddy, str(stripes)))
    split_readable(small(stripes, size=(40, 64), cache="off"), data)
    told = [message for message in caplog.messages if message.startswith("size: ")]
    assert len(told) == 1 and "40x64 is larger than presize=48x40" in told[0]
    assert told[0].endswith("presize=48x64 does")
    caplog.clear()
    split_readable(small(stripes, size=(48, 40), cache="off"), data)
    assert not caplog.messages


def test_changes_of_pictures_that_were_not_presized_are_told(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a cache that holds some of them, the others."""
    root = Path(shutil.copytree(stripes / "train_images", tmp_path / "pictures"))
    table = labelled_table(root)
    cache = Cache(tmp_path / "cache", root, Presize((48, 40)), 1e9)
    cache.fill(table["file"][:10], num_workers=1)
    datamodule = PaddyDataModule(
        root,
        table,
        ["across", "down", "slanted"],
        Presize((48, 40)),
        Augment((32, 24), [0.5] * 3, [0.5] * 3),
        cache.open(table["file"]),
    )
    with told_of_changes(datamodule):
        for file in table["file"].iloc[[3, 30]]:
            shutil.copy(root / table["file"][59], root / file)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("1 pictures changed")
    assert caplog.messages[0].endswith(table["file"][30])


def test_a_profile_accounts_for_every_moment_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second at every look."""
    clock = itertools.count()
    monkeypatch.setattr("paddy_lightning.training.profiling.time.perf_counter", lambda: next(clock))
    profiler = EpochProfiler()
    profiler.start("[_TrainingEpochLoop].train_dataloader_next")  # before the first epoch
    profiler.stop("[_TrainingEpochLoop].train_dataloader_next")
    for _ in range(2):
        profiler.start("run_training_epoch")
        for action in ("[_TrainingEpochLoop].train_dataloader_next", "[Strategy]x.optimizer_step"):
            profiler.start(action)
            profiler.start("[Strategy]x.training_step")
            profiler.stop("[Strategy]x.training_step")
            profiler.stop(action)
        profiler.start("validation")
        profiler.start("[Strategy]x.training_step")  # nothing in a validation counts by itself
        profiler.stop("[Strategy]x.training_step")
        profiler.stop("validation")
        profiler.stop("run_training_epoch")
    parts = profiler.table().set_index("part")["seconds"]
    looks = {"waiting for data": 2, "forward": 2, "optimizer": 2, "validation": 1, "the rest": 4}
    assert parts[parts > 0].to_dict() == looks


def test_a_profile_of_a_run(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    seconds = train(small(stripes, profile=True), tmp_path / "run")["seconds"]
    parts = pd.read_csv(tmp_path / "run" / "profile.csv").set_index("part")
    assert list(parts.index) == list(PARTS) and (parts["seconds"] > 0).all()
    assert parts["share"].sum() == pytest.approx(1)
    epochs = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert parts["seconds"].sum() * len(epochs) < seconds
    assert advice(parts.reset_index(), num_workers=0, has_cache=True) in caplog.text
