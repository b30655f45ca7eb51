import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from paddy_lightning.choices import Resize
from paddy_lightning.data.augment import Augment
from paddy_lightning.data.datamodule import EpochSampler, PaddyDataModule
from paddy_lightning.data.folders import labelled_table
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.split import random_split
from paddy_lightning.data.workers import default_num_workers, fitting_workers

CLASSES = ["across", "down", "slanted"]


class Looker(pl.LightningModule):
    """Trains nothing, keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Batch]] = {"train": [], "valid": []}
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen["train"].append(batch)
        return self.weight * 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.seen["valid"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def pictures(self, stage: str, epoch_size: int = 10**9) -> dict[tuple[int, int], Tensor]:
        found: dict[tuple[int, int], Tensor] = {}
        for image, _, index in self.seen[stage]:
            for picture, row in zip(image, index.tolist(), strict=True):
                found[(len(found) // epoch_size, row)] = picture
        return found


def look(
    stripes: Path, tmp_path: Path, epochs: int = 2, ckpt: Path | None = None, **changes: Any
) -> tuple[Looker, PaddyDataModule]:
    root = stripes / "train_images"
    resize = changes.pop("resize", Resize.squish)
    datamodule = PaddyDataModule(
        root,
        random_split(labelled_table(root)),
        CLASSES,
        Presize((48, 40), resize),
        Augment((32, 24), [0.5] * 3, [0.5] * 3),
        **{"batch_size": 8, **changes},
    )
    looker = Looker()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(looker, datamodule=datamodule, ckpt_path=ckpt, weights_only=True)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return looker, datamodule


def test_a_batch_reaches_the_network_as_floats_of_the_asked_size(
    stripes: Path, tmp_path: Path
) -> None:
    looker, datamodule = look(stripes, tmp_path)
    image, label, index = looker.seen["train"][0]
    assert image.shape == (8, 3, 32, 24) and image.dtype == torch.float32
    assert image.min() > -1.8 and image.max() < 1.8
    raw = next(iter(datamodule.val_dataloader()))
    assert raw.image.shape == (8, 48, 40, 3) and raw.image.dtype == torch.uint8
    table = random_split(labelled_table(stripes / "train_images"))
    assert [CLASSES[code] for code in label] == table["label"].iloc[index.tolist()].tolist()


def test_every_training_picture_once_an_epoch_and_no_validation_picture(
    stripes: Path, tmp_path: Path
) -> None:
    looker, datamodule = look(stripes, tmp_path)
    rows = [row for batch in looker.seen["train"] for row in batch.index.tolist()]
    assert len(rows) == 2 * 48
    assert sorted(rows[:48]) == sorted(rows[48:]) == datamodule.train_rows.tolist()
    assert rows[:48] != rows[48:]
    assert set(datamodule.valid_rows).isdisjoint(rows)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_goes_on_in_the_next_epochs_order(
    stripes: Path, tmp_path: Path, workers: int
) -> None:
    """Though its first pictures are fetched before Lightning says which epoch it is."""
    whole, _ = look(stripes, tmp_path, epochs=3)
    first, _ = look(stripes, tmp_path, epochs=1)
    rest, _ = look(stripes, tmp_path, 3, tmp_path / "last.ckpt", num_workers=workers)
    seen = [batch.index.tolist() for batch in whole.seen["train"]]
    parts = [batch.index.tolist() for part in (first, rest) for batch in part.seen["train"]]
    assert parts == seen


def test_an_incomplete_batch_is_left_out_unless_it_is_all(stripes: Path, tmp_path: Path) -> None:
    looker, _ = look(stripes, tmp_path, batch_size=20)
    assert [len(batch.label) for batch in looker.seen["train"]] == [20, 20] * 2
    looker, _ = look(stripes, tmp_path, batch_size=500)
    assert [len(batch.label) for batch in looker.seen["train"]] == [48] * 2


@pytest.mark.parametrize("resize", [Resize.squish, Resize.crop])
def test_pictures_do_not_depend_on_workers_or_batches(
    stripes: Path, tmp_path: Path, resize: Resize
) -> None:
    base, _ = look(stripes, tmp_path, resize=resize)
    expected = base.pictures("train", epoch_size=48)
    workers, _ = look(stripes, tmp_path, resize=resize, num_workers=2)
    other_batches, _ = look(stripes, tmp_path, resize=resize, batch_size=12)
    same_order = workers.pictures("train", epoch_size=48)
    assert list(same_order) == list(expected)
    assert all(torch.equal(same_order[key], expected[key]) for key in expected)
    regrouped = other_batches.pictures("train", epoch_size=48)
    assert list(regrouped) == list(expected)
    assert all((regrouped[key] - expected[key]).abs().max() < 1e-4 for key in expected)


def test_a_training_crop_moves_and_a_validation_crop_does_not(
    stripes: Path, tmp_path: Path
) -> None:
    _, datamodule = look(stripes, tmp_path, resize=Resize.crop)
    pictures = datamodule.pictures
    moved = [pictures[(0, epoch)].image for epoch in range(8)]
    assert len({picture.numpy().tobytes() for picture in moved}) > 1
    assert torch.equal(pictures[0].image, pictures[0].image)


def test_only_crops_draw_a_place(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have none, and drawing it would be most of what a kept picture costs."""
    _, datamodule = look(stripes, tmp_path)
    monkeypatch.setattr("paddy_lightning.data.pictures.uniform_of_one", Mock(side_effect=OSError))
    assert datamodule.pictures[(0, 3)].index == 0


@pytest.mark.parametrize(("system", "most"), [("linux", 8), ("win32", 2), ("darwin", 2)])
def test_workers_of_a_gpu(system: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer where each imports torch anew; none without a GPU, whose network takes all cores."""
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("paddy_lightning.data.workers.num_cores", lambda: 16)
    assert default_num_workers(None) == 0
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert default_num_workers(None) == most and default_num_workers(5) == 5


@pytest.mark.parametrize(
    ("device", "moved"), [("mps", [torch.float32]), ("cuda", [torch.uint8, torch.float32])]
)
def test_on_apples_gpus_pictures_are_augmented_before_they_are_moved(
    stripes: Path,
    tmp_path: Path,
    device: str,
    moved: list[torch.dtype],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, datamodule = look(stripes, tmp_path)
    seen: list[torch.dtype] = []

    def moving(self: Any, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        seen.append(batch.image.dtype)
        return batch

    monkeypatch.setattr(pl.LightningDataModule, "transfer_batch_to_device", moving)
    batch = next(iter(datamodule.val_dataloader()))
    datamodule.transfer_batch_to_device(batch, torch.device(device), 0)
    assert seen == moved


def test_as_many_workers_as_the_shared_memory_has_room_for() -> None:
    """Each may have six batches there at a time."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("shared memory: there is no /dev/shm on this machine")
    batch_size = int(shutil.disk_usage(shared).free / (2.5 * 6 * 100 * 100 * 3))
    assert fitting_workers(4, (100, 100), batch_size) == 2
    assert fitting_workers(1, (100, 100), batch_size) == 1


@pytest.mark.parametrize(("system", "method"), [("linux", "fork"), ("darwin", None)])
def test_workers_are_forked_on_linux(
    stripes: Path, tmp_path: Path, system: str, method: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Python would do by itself: from 3.14 on, that makes every worker import torch."""
    _, datamodule = look(stripes, tmp_path)
    datamodule.num_workers = 1
    monkeypatch.setattr("sys.platform", system)
    context = datamodule.val_dataloader().multiprocessing_context
    assert (context.get_start_method() if context else None) == method
    datamodule.num_workers = 0
    assert datamodule.val_dataloader().multiprocessing_context is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_pinned_for_a_gpu_that_is_used(
    stripes: Path, tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for one that is there, while the run is on the CPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    _, datamodule = look(stripes, tmp_path)
    datamodule.trainer = Mock(global_rank=0, world_size=1)
    datamodule.trainer.strategy.root_device.type = device
    assert datamodule.val_dataloader().pin_memory == (device == "cuda")


def test_validation_is_not_augmented(stripes: Path, tmp_path: Path) -> None:
    looker, datamodule = look(stripes, tmp_path)
    raw = next(iter(datamodule.val_dataloader()))
    assert torch.equal(looker.seen["valid"][-2].image, datamodule.augment.plain(raw.image))
    seen = looker.pictures("valid", 12)  # before the first epoch, and after each
    assert {time for time, _ in seen} == {0, 1, 2}
    for row in datamodule.valid_rows.tolist():
        assert torch.equal(seen[1, row], seen[2, row])


def test_predicting_gives_every_view_from_one_decode(stripes: Path, tmp_path: Path) -> None:
    _, datamodule = look(stripes, tmp_path, tta=4)
    shown, cpu = datamodule.shown(), torch.device("cpu")
    raw, _, index = batch = next(iter(shown.loader(cpu)))
    image = shown.views(batch, cpu)
    assert image.shape == (8, 5, 3, 32, 24)
    assert torch.equal(image[:, -1], datamodule.augment.plain(raw))
    for view in range(4):
        assert torch.equal(image[:, view], datamodule.augment.random(raw, index, 0, view + 1))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, int]]:
        return list(EpochSampler(np.arange(50), seed, epoch))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert [row for row, _ in order(1, 0)] != [row for row, _ in order(1, 1)]
    assert {epoch for _, epoch in order(1, 3)} == {3}


def test_pictures_without_labels_can_be_predicted(stripes: Path) -> None:
    table = pd.DataFrame({"file": ["200000.jpg", "200001.jpg"]})
    augment = Augment((32, 24), [0.5] * 3, [0.5] * 3)
    datamodule = PaddyDataModule(stripes / "test_images", table, CLASSES, Presize(), augment)
    batch = next(iter(datamodule.shown().loader(torch.device("cpu"))))
    assert batch.label.tolist() == [-1, -1] and batch.index.tolist() == [0, 1]
