"""Odd and broken pictures: what each gives when it is opened, trained on, and predicted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zoo
from small import calibrated

from paddy_lightning.choices import BadImages, DataConfig, PadMode, Resize, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.broken import find_broken
from paddy_lightning.data.presize import Presize, open_presized
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.train import train

GREY_LEVELS = {  # what is left and right of the middle, of 255
    "grey.jpg": (87, 106),
    "grey_alpha.png": (87, 255),
    "deep_grey.png": (18, 215),
    "deep_grey.tif": (18, 215),
    "float.tif": (18, 215),
}
RED, GREEN, WHITE = (220, 30, 30), (30, 160, 30), (255, 255, 255)


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zoo")
    for name in ("SOUND", "OTHERWISE", "BROKEN"):
        zoo.draw(root / name.lower(), getattr(zoo, name))
    return root


@pytest.mark.parametrize("name", zoo.SOUND)
def test_an_odd_picture_looks_like_the_plain_one(animals: Path, name: str) -> None:
    found = open_presized(animals / "sound" / name, Presize((48, 72)))
    assert found.shape == (48, 72, 3) and found.dtype == np.uint8
    assert np.allclose(found[:, :18], RED, atol=4) and np.allclose(found[:, 30:], GREEN, atol=4)


@pytest.mark.parametrize("name", zoo.OTHERWISE)
@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("pad_mode", PadMode)
def test_a_strange_picture_fits_by_any_method(
    animals: Path, name: str, resize: Resize, pad_mode: PadMode
) -> None:
    path = animals / "otherwise" / name
    assert open_presized(path, Presize((48, 72), resize, pad_mode)).shape == (48, 72, 3)


@pytest.mark.parametrize("name", GREY_LEVELS)
def test_greys_are_seen_in_full(animals: Path, name: str) -> None:
    found = open_presized(animals / "otherwise" / name, Presize((48, 72)))
    assert (found == found[:, :, :1]).all()
    assert tuple(found[24, [5, 60], 0]) == GREY_LEVELS[name]


@pytest.mark.parametrize("name", ["alpha.png", "palette_alpha.png"])
def test_what_is_transparent_is_white(animals: Path, name: str) -> None:
    found = open_presized(animals / "otherwise" / name, Presize((48, 72)))
    assert np.allclose(found[:, :18], RED, atol=4) and np.allclose(found[:, 30:], WHITE, atol=4)


@pytest.mark.parametrize("name", zoo.BROKEN)
def test_a_broken_picture_is_named(animals: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: cannot be read as a picture"):
        open_presized(animals / "broken" / name, Presize((48, 72)))


def test_the_broken_ones_are_found_and_no_others(animals: Path) -> None:
    files = pd.Series(
        [
            f"{kind}/{n}"
            for kind in ("sound", "broken")
            for n in sorted(zoo.SOUND if kind == "sound" else zoo.BROKEN)
        ]
    )
    broken = find_broken(animals, files, num_workers=2)
    assert files[broken.index].tolist() == [f"broken/{name}" for name in sorted(zoo.BROKEN)]


def config(root: Path, **changes: object) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(Source.folder, str(root)),
        arch="mobilenetv3_small_050",
        weights="none",
        presize=(48, 40),
        size=(40, 32),
        epochs=1,
        freeze_epochs=0,
        batch_size=16,
        num_workers=0,
        **changes,  # type: ignore[arg-type]
    )


def test_training_refuses_or_skips_and_predicting_drops_no_row(
    stripes: Path, animals: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole zoo among sound pictures."""
    shutil.copytree(stripes, tmp_path / "data")
    for kind in ("sound", "otherwise", "broken"):
        shutil.copytree(animals / kind, tmp_path / "data" / "train_images" / "down" / kind)
    root = tmp_path / "data" / "train_images"
    with pytest.raises(UserError, match=r"13 pictures are broken; .* bad_images=skip: .*bomb\.png"):
        train(config(root), tmp_path / "run")
    assert not (tmp_path / "run").exists()

    summary = train(config(root, bad_images=BadImages.skip), tmp_path / "run")
    num_pictures = 60 + len(zoo.SOUND) + len(zoo.OTHERWISE)
    assert summary["num_train"] + summary["num_valid"] == num_pictures
    assert "13 broken pictures are skipped:" in caplog.messages
    assert all(any(name in message for message in caplog.messages) for name in zoo.BROKEN)

    found = predict(tmp_path / "run", root).set_index("file")
    assert len(found) == num_pictures + len(zoo.BROKEN)
    unread = found[found["label"] == ""]
    assert sorted(Path(file).name for file in unread.index) == sorted(zoo.BROKEN)
    assert unread["confidence"].isna().all() and found["confidence"].isna().sum() == len(unread)
    valid = calibrated(tmp_path / "run")
    assert np.allclose(found.loc[valid.index, "down"], valid["down"], atol=1e-5)


def test_a_class_of_broken_pictures_is_told(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(shutil.copytree(stripes / "train_images", tmp_path / "data"))
    zoo.draw(root / "all broken", zoo.BROKEN)
    skipping = config(root, bad_images=BadImages.skip, cache="off")
    assert split_readable(skipping, open_data(skipping.data))["label"].nunique() == 3
    assert "no picture of 1 classes can be read: all broken" in caplog.messages


def test_a_submission_has_every_row(
    run_script: Callable[..., object], stripes: Path, tmp_path: Path
) -> None:
    shutil.copytree(stripes, tmp_path / "data")
    train(config(tmp_path / "data" / "train_images"), tmp_path / "first")
    paddy = config(stripes)
    paddy.data = DataConfig(Source.paddy, str(tmp_path / "data"))
    train(paddy, tmp_path / "run")
    (tmp_path / "data" / "test_images" / "200003.jpg").write_bytes(b"")
    result = run_script("predict", f"ckpt={tmp_path / 'run'}")
    assert result.returncode == 0  # type: ignore[attr-defined]
    told = result.stdout  # type: ignore[attr-defined]
    assert "200003.jpg: cannot be read" in told and "the commonest, for the unread ones" in told
    submitted = pd.read_csv(tmp_path / "run" / "submission.csv")
    assert len(submitted) == 8 and submitted["label"].notna().all()
