"""Less than a step needs, and few steps an epoch."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.table import DataSet, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.training.build import refuse_too_few, say_if_steps_are_few
from paddy_lightning.training.train import find_lr, train


@pytest.fixture(scope="module")
def pair(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """A picture of each of two classes; one of them validates."""
    root = tmp_path_factory.mktemp("pair")
    for name in ("across", "down"):
        (root / name).mkdir()
        shutil.copy(stripes / "train_images" / name / f"{name}00.jpg", root / name)
    return open_data(DataConfig(Source.folder, str(root)))


@pytest.mark.parametrize("begin", [train, find_lr])
def test_one_picture_is_not_enough_to_train_on(pair: DataSet, tmp_path: Path, begin: Any) -> None:
    with pytest.raises(UserError, match=r": 1 pictures to train on; there must be two$"):
        begin(small(pair.root, data=pair.config), tmp_path / "run")


@pytest.mark.parametrize(("num_train", "is_enough"), [(5, False), (6, True)])
def test_each_device_needs_two(pair: DataSet, num_train: int, is_enough: bool) -> None:
    config = small(pair.root, batch_size=6, trainer={"devices": 3})
    if is_enough:
        refuse_too_few(config, pair, num_train)
        return
    with pytest.raises(UserError, match=r": 5 pictures to train on; 3 devices need two each"):
        refuse_too_few(config, pair, num_train)


@pytest.mark.parametrize(
    ("num_train", "trainer", "said"),
    [
        (80, {}, "an epoch has 1 steps of 64 pictures and leaves out 16"),
        (50, {}, "an epoch has 1 steps of 50 pictures and leaves out 0"),
        (640, {"accumulate_grad_batches": 4}, "an epoch has 3 steps of 256 pictures"),
        (640, {}, ""),
        (80, {"limit_train_batches": 1}, ""),
    ],
)
def test_few_steps_are_told(
    stripes: Path,
    caplog: pytest.LogCaptureFixture,
    num_train: int,
    trainer: dict[str, Any],
    said: str,
) -> None:
    caplog.set_level("INFO")
    say_if_steps_are_few(small(stripes, batch_size=64, trainer=trainer), num_train)
    assert said in caplog.text and bool(said) == bool(caplog.text)
