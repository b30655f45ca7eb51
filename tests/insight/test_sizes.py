"""``paddy interpret``: the validation pictures of a run at larger sizes."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from small import predictions, small

from paddy_lightning.insight.interpret import interpret
from paddy_lightning.insight.sizes import error_by_size, scaled, verdict
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.run_folder import read_predictions
from paddy_lightning.training.train import train


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sizes") / "run"
    train(small(stripes, size=(64, 48), epochs=1), folder)
    return folder


def test_they_are_those_of_predict(run: Path, stripes: Path) -> None:
    valid = read_predictions(run / "valid_predictions.csv")
    found = error_by_size(run, valid)
    assert found is not None
    assert found.table["size"].tolist() == ["64x48", "72x56", "80x64"]
    for row, size in zip(found.table.itertuples(), ((64, 48), (72, 56), (80, 64)), strict=True):
        said = predict(run, stripes / "train_images", size=size).set_index("file")["label"]
        wrong = (said.loc[valid["file"]].to_numpy() != valid["label"].to_numpy()).mean()
        assert row.error_rate == pytest.approx(wrong)
    assert found.table["loss"][0] == pytest.approx(valid["loss"].mean())


def test_a_larger_size_is_called_better_only_where_it_is() -> None:
    worse, better = predictions((30, False), (50, True)), predictions((20, False), (60, True))
    said = verdict(Path("RUN"), {"64x48": worse, "72x56": better, "80x64": better})
    assert said == (
        "72x56 is better than 64x48, which it was trained at: right on 10 more pictures, wrong on 0"
        " (p = 0.002). Use it, with `paddy predict ckpt=RUN size=72x56`"
    )
    assert verdict(Path("RUN"), {"64x48": better, "72x56": worse}) == ""
    assert verdict(Path("RUN"), {"64x48": better, "72x56": better, "80x64": worse}) == ""


def test_the_command_alone_looks_at_them(
    run: Path, tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    """A training that ends, and a notebook, are spared the passes."""
    card = "interpretation.md"
    assert "shown larger" not in (run / card).read_text()
    moved = shutil.copytree(run, tmp_path / "moved")
    assert interpret(moved).by_size is None
    told = run_script("interpret", f"run={moved}")
    assert told.returncode == 0, told.stderr
    assert "| 72x56" in told.stdout and "| 72x56" in (moved / card).read_text()


def test_an_arch_of_one_size_is_left_out(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = small(stripes, arch="vit_tiny_patch16_224", size=(32, 32), epochs=0)
    train(replace(config, freeze_epochs=1), tmp_path / "run")
    with caplog.at_level(logging.INFO):
        valid = read_predictions(tmp_path / "run" / "valid_predictions.csv")
        assert error_by_size(tmp_path / "run", valid) is None
    assert "no errors at larger sizes: size=40x40: vit_tiny" in caplog.text
    assert "takes the size it was trained with alone" in caplog.text


def test_sides_go_in_steps_of_eight() -> None:
    assert scaled((128, 128), 1.15) == (144, 144)
    assert scaled((224, 224), 1.15) == (256, 256)
    assert scaled((256, 192), 1.3) == (336, 248)
    assert scaled((4, 8), 1.15) == (8, 8)
