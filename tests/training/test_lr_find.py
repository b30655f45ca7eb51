"""The finder: readings equal fastai's, and a search leaves no trace in the run after it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from small import small

from paddy_lightning.atomic import write_json
from paddy_lightning.choices import Schedule
from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import read_knobs
from paddy_lightning.knob import FIND
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.training import lr_find
from paddy_lightning.training.build import build
from paddy_lightning.training.lr_find import readable, suggestions
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.train import find_lr, resume, train


def test_the_four_readings_equal_fastais(golden: Path) -> None:
    curves = json.loads((golden / "lr_find_curves.json").read_text())["curves"]
    assert len(curves) == 6
    for recorded in curves:
        losses = [float(loss) for loss in recorded["losses"]]
        curve = pd.DataFrame({"lr": recorded["lrs"], "loss": losses})
        assert len(readable(curve)) == recorded["n_used"]
        assert suggestions(curve) == pytest.approx(recorded["suggestions"], rel=1e-6)


def test_a_search_grows_the_rate_and_writes_what_it_found(stripes: Path, tmp_path: Path) -> None:
    rates = find_lr(small(stripes), tmp_path / "found")
    curve = pd.read_csv(tmp_path / "found" / "lr_find.csv")
    assert 20 < len(curve) <= 100
    steps = np.diff(np.log10(curve["lr"]))
    assert np.allclose(steps, [0.16] + [0.08] * (len(steps) - 1))  # Lightning's first is double
    assert curve["lr"].iloc[0] == pytest.approx(1e-7)
    assert rates == pytest.approx(suggestions(curve))
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {name for name in names if "tfevents" not in name} == {
        "found/lr_find.csv",
        "found/figures/lr_find.png",
    }


def test_a_run_after_the_finder_equals_one_without(stripes: Path, tmp_path: Path) -> None:
    first = train(small(stripes, lr=FIND, epochs=1), tmp_path / "found")
    lr = json.loads((tmp_path / "found" / "summary.json").read_text())["lr"]
    # By itself pandas 2 reads the last digits anyhow.
    found = pd.read_csv(tmp_path / "found" / "lr_find.csv", float_precision="round_trip")
    assert lr == suggestions(found)["valley"]
    second = train(small(stripes, lr=lr, epochs=1), tmp_path / "given")
    assert first["valid_loss"] == second["valid_loss"]
    states = [
        torch.load(tmp_path / name / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("found", "given")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert (first["lr_found"], second["lr_found"]) == (lr, None)
    told = [read_knobs(tmp_path / name, run) for name, run in (("found", first), ("given", second))]
    assert [knobs["lr"] for knobs in told] == ["find", str(lr)]
    # Stopped at its very end: what goes on with it knows as well that it was found.
    write_json(tmp_path / "found" / "summary.json", {**first, "status": "failed"})
    shutil.rmtree(tmp_path / "found" / "checkpoints")
    assert resume(tmp_path / "found")["lr_found"] == lr


def test_a_cycle_can_start_from_a_run(stripes: Path, tmp_path: Path) -> None:
    """Look, find again, go on: the second half of the two-cycle way, from a checkpoint."""
    one_cycle = small(stripes, schedule=Schedule.one_cycle, freeze_epochs=2, epochs=0)
    first = train(one_cycle, tmp_path / "first")
    again = replace(one_cycle, start=str(tmp_path / "first"), freeze_epochs=0, epochs=1)
    rates = find_lr(again, tmp_path / "found")
    assert all(lr > 0 for lr in rates.values())
    still = train(replace(again, lr=1e-12), tmp_path / "second")
    assert still["valid_loss"] == pytest.approx(first["valid_loss"], rel=0.2)
    for change, message in (
        ({"arch": "resnet10t"}, "has another arch"),
        ({"start": str(tmp_path / "missing")}, "no such checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            train(replace(again, **change), tmp_path / "third")  # type: ignore[arg-type]
    assert not (tmp_path / "third").exists()


def test_the_two_cycle_recipe_is_two_cycles() -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from paddy_lightning.cli.help import CONF
    from paddy_lightning.cli.schemas import register_schemas
    from paddy_lightning.training.build import phases_of

    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", ["recipe=two_cycles"]))
    phases = phases_of(config)  # type: ignore[arg-type]
    assert [(p.epochs, p.frozen, p.max_lr[1]) for p in phases] == [
        (3, True, 3e-3),
        (6, False, 1e-4),
    ]


@pytest.mark.parametrize("accumulate", [2, 100])
def test_a_step_of_the_search_is_one_of_training(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    """With 3 batches an epoch: by 2 a third is left over, and of 100 an epoch has but 3."""
    told = {"accumulate_grad_batches": accumulate, "gradient_clip_val": 1.0, "devices": [0]}
    config = small(stripes, trainer=told | {"limit_val_batches": 1})
    given: list[dict[str, Any]] = []

    def lightning_trainer(**arguments: Any) -> Any:
        given.append(dict(arguments))
        return pl.Trainer(**arguments | {"devices": 1})

    monkeypatch.setattr(lr_find, "lightning_trainer", lightning_trainer)
    data = open_data(config.data)
    module, datamodule = build(config, data, split_readable(config, data), lr_find.Searched)
    losses: list[tuple[int, float]] = []
    step = Classifier.training_step

    def training_step(self: Classifier, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = step(self, batch, batch_idx)
        losses.append((self.trainer.global_step, float(loss.detach())))
        return loss

    monkeypatch.setattr(Classifier, "training_step", training_step)
    monkeypatch.setattr(lr_find, "NUM_TRAINING", 30)
    curve = lr_find.search(module, datamodule, "32-true", config.trainer)
    together = min(accumulate, 3)
    assert given[0]["accumulate_grad_batches"] == together and given[0]["devices"] == [0]
    assert given[0]["gradient_clip_val"] == 1.0 and "limit_val_batches" not in given[0]
    steps = pd.DataFrame(losses, columns=["step", "loss"]).groupby("step")["loss"]
    assert set(steps.size()) == {together} and 15 < len(curve) <= len(steps)
    smoothed, expected = 0.0, []
    for number, loss in enumerate(steps.mean()[: len(curve)]):
        smoothed = 0.98 * smoothed + 0.02 * loss
        expected.append(smoothed / (1 - 0.98 ** (number + 2)))  # as Lightning counts
    assert np.allclose(curve["loss"], expected, rtol=1e-4)
