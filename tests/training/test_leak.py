"""``start=``: a network is not validated on pictures that it was trained on."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.training.train import train


@pytest.fixture(scope="module")
def first(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leak") / "first"
    train(small(stripes, epochs=0), folder)
    return folder


def going_on(stripes: Path, start: Path) -> TrainConfig:
    return small(stripes, epochs=1, freeze_epochs=0, start=str(start))


@pytest.mark.parametrize(
    ("changes", "then"),
    [({"split_seed": 1}, "split_seed=42"), ({"fold": 2}, "fold=None"), ({"seed": 1}, "")],
)
def test_another_split_is_refused(
    changes: dict[str, int], then: str, stripes: Path, first: Path, tmp_path: Path
) -> None:
    told = replace(going_on(stripes, first), **changes)  # type: ignore[arg-type]
    if then:
        with pytest.raises(UserError, match=rf"validate here.*split as it did \(it had {then}\)"):
            train(told, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    else:
        assert train(told, tmp_path / "run")["status"] == "done"


def test_new_pictures_that_change_the_split_are_seen(stripes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(stripes, tmp_path / "data")
    train(small(data, epochs=0), tmp_path / "first")
    for number, file in enumerate(sorted((data / "train_images").rglob("*.jpg"))[:5]):
        shutil.copy(file, file.with_name(f"new{number}.jpg"))
    with pytest.raises(UserError, match=r"of the .* pictures that validate here"):
        train(going_on(data, tmp_path / "first"), tmp_path / "second")


def test_elsewhere_and_alone_it_is_a_warning(
    stripes: Path, first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other pictures may have these names; and a file alone does not know which it saw."""
    moved = shutil.copytree(stripes, tmp_path / "moved")
    told = replace(going_on(moved, first), split_seed=1)
    with caplog.at_level(logging.WARNING):
        train(told, tmp_path / "elsewhere")
    assert "by their names; if they are the same, the error flatters" in caplog.text
    caplog.clear()
    alone = tmp_path / "alone.ckpt"
    shutil.copy(first / "checkpoints" / "best.ckpt", alone)
    told = replace(told, data=DataConfig(Source.paddy, str(stripes)), start=str(alone))
    with caplog.at_level(logging.WARNING):
        train(told, tmp_path / "other")
    assert "was split in another way (it had split_seed=42)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        train(replace(told, split_seed=42), tmp_path / "same")
    assert "validate here" not in caplog.text
