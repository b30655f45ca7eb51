"""Whole runs with soft targets: mixed pictures, and labels softened by other folds' networks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from small import small
from test_resume import assert_equal_weights, stop_after_an_epoch
from torch import Tensor, nn

from paddy_lightning.choices import Split
from paddy_lightning.command_configs import SurveyConfig
from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.soft_targets import SoftBatch
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import compare, find_runs
from paddy_lightning.insight.comparison_page import write_comparison
from paddy_lightning.insight.show import show_batch
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training.check import check
from paddy_lightning.training.train import find_lr, resume, train

MIXED = {"mixup": 0.4, "cutmix": 1.0}


def folded(stripes: Path, fold: int | None, **changes: Any) -> TrainConfig:
    how = {"folds": 3, "split": Split.stratified, "epochs": 1, "freeze_epochs": 0}
    return small(stripes, fold=fold, **(how | changes))


@pytest.fixture(scope="module")
def sweep(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each of three folds, and the comparison."""
    folder = tmp_path_factory.mktemp("sweep")
    for fold in range(3):
        train(folded(stripes, fold), folder / f"{fold}")
    write_comparison(compare(find_runs(folder)), folder)
    return folder


@pytest.fixture(scope="module")
def answers(sweep: Path) -> str:
    return str(sweep / "out_of_fold.csv")


def losses(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "metrics.csv")[["train_loss", "valid_loss", "error_rate"]]


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_target_that_is_a_label_has_its_loss(weights: Tensor | None, smoothing: float) -> None:
    """Also smoothed and weighed: torch divides by other sums for targets than for labels."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    label = torch.tensor([0, 0, 0, 1, 2])
    hard = Batch(torch.randn(5, 3, 2, 2), label, torch.arange(5))
    soft = SoftBatch(*hard, nn.functional.one_hot(label, 3).float())
    module = Classifier(body, 3, label_smoothing=smoothing, class_weights=weights)
    torch.testing.assert_close(module.training_step(soft, 0), module.training_step(hard, 0))
    other = soft._replace(target=soft.target.flip(0))
    mixed = soft._replace(target=torch.lerp(soft.target, other.target, 0.3))
    first, second = (module.training_step(batch, 0) for batch in (soft, other))
    expected = torch.lerp(first, second, 0.3)  # the loss is linear in the target
    torch.testing.assert_close(module.training_step(mixed, 0), expected)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_targets_have_their_digits_in_any_precision(
    precision: str, stripes: Path, tmp_path: Path
) -> None:
    told = train(small(stripes, epochs=0, precision=precision, **MIXED), tmp_path / "run")
    assert told["status"] == "done" and np.isfinite(losses(tmp_path / "run")).all(axis=None)


@pytest.mark.parametrize("mixed", [{}, MIXED])
def test_soft_labels_of_all_folds(
    mixed: dict[str, float], sweep: Path, answers: str, stripes: Path, tmp_path: Path
) -> None:
    """They change what is trained on; who predicts needs the table no more."""
    told = train(folded(stripes, 1, soft_labels=answers, **mixed), tmp_path / "run")
    assert told["status"] == "done"
    changed = losses(tmp_path / "run") != losses(sweep / "1")
    assert changed[["train_loss", "valid_loss"]].all(axis=None)
    config = load_checkpoint(tmp_path / "run")["hyper_parameters"]["config"]
    assert config["soft_labels"] == answers and config["soft_share"] == 0.3
    assert config["mixup"] == mixed.get("mixup", 0)
    ours, theirs = (
        pd.read_csv(run / "valid_predictions.csv")["file"]
        for run in (tmp_path / "run", sweep / "1")
    )
    pd.testing.assert_series_equal(ours, theirs)
    assert len(predict(tmp_path / "run")) == 8


def test_a_share_of_nothing_is_a_run_without(
    sweep: Path, answers: str, stripes: Path, tmp_path: Path
) -> None:
    train(folded(stripes, 1, soft_labels=answers, soft_share=0.0), tmp_path / "run")
    pd.testing.assert_frame_equal(losses(tmp_path / "run"), losses(sweep / "1"), check_exact=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"fold": None, "split": Split.auto},
        {"folds": 4},
        {"split_seed": 7},
        {"split": Split.random},
    ],
)
def test_another_split_than_that_of_the_table_is_refused(
    changes: dict[str, Any], answers: str, stripes: Path, tmp_path: Path
) -> None:
    config = replace(folded(stripes, 1, soft_labels=answers), **changes)
    with pytest.raises(UserError, match="are no fold of that table"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_a_run_has_said_itself_is_refused(sweep: Path, stripes: Path) -> None:
    """Before any data is read."""
    for table in ("1/valid_predictions.csv", "1/pictures.csv", "comparison.csv"):
        with pytest.raises(UserError, match="no table of out-of-fold predictions"):
            check(folded(stripes, 1, soft_labels=str(sweep / table)))


def test_a_stopped_run_goes_on_bit_for_bit(answers: str, stripes: Path, tmp_path: Path) -> None:
    """Though the table it was told of is gone."""
    told = tmp_path / "answers.csv"
    told.write_bytes(Path(answers).read_bytes())
    config = folded(stripes, 1, epochs=3, soft_labels=str(told), **MIXED)
    train(config, tmp_path / "whole")
    stopped = stop_after_an_epoch(config, tmp_path / "stopped")
    told.unlink()
    assert resume(stopped)["status"] == "done"
    pd.testing.assert_frame_equal(losses(stopped), losses(tmp_path / "whole"), check_exact=True)
    assert_equal_weights(stopped, tmp_path / "whole")
    assert yaml.safe_load((stopped / "config.yaml").read_text())["soft_labels"] == str(told)


def test_a_table_is_found_again_from_anywhere(
    answers: str, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(answers).parent)
    train(folded(stripes, 1, soft_labels="out_of_fold.csv"), tmp_path / "run")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["soft_labels"] == answers
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "done"


def test_a_rate_is_found_for_mixed_pictures(stripes: Path, tmp_path: Path) -> None:
    curves = []
    for number, how in enumerate(({}, MIXED)):
        assert set(find_lr(small(stripes, **how), tmp_path / str(number))) >= {"valley"}
        curves.append(pd.read_csv(tmp_path / str(number) / "lr_find.csv")["loss"])
    assert curves[0][0] != curves[1][0]


def test_what_is_shown_is_mixed_as_in_training(stripes: Path, tmp_path: Path) -> None:
    """The first batch, which the run keeps as a figure."""
    shown = small(stripes, epochs=0, batch_size=15, **MIXED)
    train(shown, tmp_path / "run")
    kept = tmp_path / "run" / "figures" / "augmented_batch.png"
    with Image.open(kept) as file:
        trained = np.asarray(file).astype(int)
    show = SurveyConfig(**plain(shown))
    batch, alone = (np.asarray(show_batch(show, unique)).astype(int) for unique in (False, True))
    assert batch.shape == trained.shape and np.abs(batch - trained).max() <= 1
    unmixed = replace(show, mixup=0.0, cutmix=0.0)
    assert np.array_equal(alone, np.asarray(show_batch(unmixed, True)))
    assert not np.array_equal(batch, np.asarray(show_batch(unmixed, count=15)))
