"""``unfamiliar=true``: which pictures are of another kind than those of the validation."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small import small
from timm.models import EfficientNet, MobileNetV3

from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.csv_tables import read_table
from paddy_lightning.errors import UserError
from paddy_lightning.prediction import by_checkpoint, partial
from paddy_lightning.prediction.predict import predict, run_predict
from paddy_lightning.runs.familiarity import familiarity_of, unfamiliarity
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training.train import train

PRETRAINED: dict[str, Any] = {"arch": "tf_efficientnet_lite0", "weights": "pretrained"}


@pytest.fixture(scope="module")
def runs(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds, half of the pictures to validate."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        config = small(stripes, seed=seed, folds=2, fold=0, epochs=1, **PRETRAINED)
        train(config, folder / str(seed))
    return [folder / "1", folder / "2"]


def cut_after(batches: int) -> Callable[..., torch.Tensor]:
    """Ctrl-C while a further one is judged."""
    left = iter(range(batches))

    def judge(*told: Any) -> torch.Tensor:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return unfamiliarity(*told)

    return judge


@pytest.fixture
def some(stripes: Path, tmp_path: Path) -> Path:
    """Eight stripes, a white page, noise, and a file that is no picture."""
    folder = shutil.copytree(stripes / "test_images", tmp_path / "some")
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    Image.new("RGB", (48, 64), "white").save(folder / "white.png")
    (folder / "z.jpg").write_bytes(b"no picture")
    return folder


def test_strange_pictures_are_found_and_nothing_else_changes(
    runs: list[Path], some: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without = predict(runs[0], some)
    caplog.clear()
    table = predict(runs[0], some, unfamiliar=True)
    pd.testing.assert_frame_equal(table.drop(columns="unfamiliar"), without)
    found = table.set_index("file")["unfamiliar"]
    assert list(table)[:4] == ["file", "label", "confidence", "unfamiliar"]
    assert found[["noise.png", "white.png"]].min() > 1 and np.isnan(found["z.jpg"])
    assert found.iloc[:8].median() < 1
    assert "pictures are unlike those of the validation: " in caplog.text
    assert "noise.png" in caplog.text and "white.png" in caplog.text


def test_the_table_has_it_by_views_and_by_several_as_well(
    runs: list[Path], some: Path, tmp_path: Path
) -> None:
    each = [predict(run, some, unfamiliar=True)["unfamiliar"] for run in runs]
    config = PredictConfig(
        [str(run) for run in runs],
        images=str(some),
        tta=True,
        coverage=None,
        unfamiliar=True,
        batch_size=64,
        output=str(tmp_path),
    )
    run_predict(config)
    table = read_table(tmp_path / "predictions.csv")
    assert list(table)[:4] == ["file", "label", "confidence", "unfamiliar"]
    assert table["unfamiliar"].iloc[-1] == ""
    found = table["unfamiliar"][:-1].astype(float)
    assert np.allclose(found, ((each[0] + each[1]) / 2)[:-1], rtol=1e-4)


def test_a_table_that_was_cut_is_gone_on_with(
    runs: list[Path],
    some: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The summary names what was found before the cut, too."""

    def asked(name: str, **more: Any) -> Path:
        knobs: dict[str, Any] = {
            "images": str(some),
            "unfamiliar": True,
            "batch_size": 3,
            "num_workers": 0,
        } | more
        return run_predict(PredictConfig(str(runs[0]), output=str(tmp_path / name), **knobs))

    whole = asked("whole").read_bytes()
    told = [line for line in caplog.messages if "unlike" in line]
    with monkeypatch.context() as patched:
        patched.setattr(partial, "AT_ONCE", 3)
        patched.setattr(by_checkpoint, "unfamiliarity", cut_after(3))
        with pytest.raises(KeyboardInterrupt):
            asked("cut")
    with pytest.raises(UserError, match=r"\(unfamiliar differ"):
        asked("cut", unfamiliar=False)
    caplog.clear()
    assert asked("cut").read_bytes() == whole
    assert [line for line in caplog.messages if "unlike" in line] == told and told


def test_how_many_are_asked_at_once_changes_nothing(runs: list[Path], some: Path) -> None:
    one, other = (
        predict(runs[0], some, unfamiliar=True, batch_size=size)["unfamiliar"] for size in (64, 3)
    )
    assert np.allclose(one[:-1], other[:-1], rtol=1e-4)


def test_what_remembers_nothing_says_so(
    runs: list[Path], exported: Path, stripes: Path, tmp_path: Path
) -> None:
    few = train(small(stripes, epochs=1), tmp_path / "few")  # 12 pictures validate
    assert few["status"] == "done" and familiarity_of(load_checkpoint(tmp_path / "few")) is None
    for run, more, said in (
        (tmp_path / "few", {}, "remembers no pictures"),
        (runs[0], {"size": (48, 40)}, "predict without size="),
        (exported / "export" / "model.onnx", {}, "the run's checkpoint does"),
    ):
        with pytest.raises(UserError, match=said):
            predict(run, stripes / "test_images", unfamiliar=True, **more)  # type: ignore[arg-type]


def test_a_class_of_that_name_is_in_the_way(runs: list[Path], some: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(runs[0])
    checkpoint["hyper_parameters"]["class_names"][1] = "unfamiliar"
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="a class is called unfamiliar"):
        predict(tmp_path / "a.ckpt", some, unfamiliar=True)


def test_a_body_that_does_not_show_its_maps_is_trained_nevertheless(
    runs: list[Path], some: Path, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """densenet121 and some more, before timm 1.0.31."""
    monkeypatch.delattr(MobileNetV3, "forward_intermediates")
    summary = train(small(stripes, folds=2, fold=0, epochs=1), tmp_path / "run")
    assert summary["status"] == "done"
    assert familiarity_of(load_checkpoint(tmp_path / "run")) is None
    monkeypatch.delattr(EfficientNet, "forward_intermediates")
    for run, said in ((tmp_path / "run", "of its arch"), (runs[0], "of tf_efficientnet_lite0")):
        with pytest.raises(UserError, match=f"this timm does not show the maps {said}"):
            predict(run, some, unfamiliar=True)
