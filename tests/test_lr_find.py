"""The finder: readings equal fastai's, and a search leaves no trace in the run after it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_training import small

from paddy_lightning.atomic import write_json
from paddy_lightning.compare import read_knobs
from paddy_lightning.config import FIND, Schedule
from paddy_lightning.errors import UserError
from paddy_lightning.lr_find import readable, suggestions
from paddy_lightning.training import find_lr, resume, train


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
    assert lr == suggestions(pd.read_csv(tmp_path / "found" / "lr_find.csv"))["valley"]
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

    from paddy_lightning.build import phases_of
    from paddy_lightning.command_line import CONF, register_schemas

    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", ["recipe=two_cycles"]))
    phases = phases_of(config)  # type: ignore[arg-type]
    assert [(p.epochs, p.frozen, p.max_lr[1]) for p in phases] == [
        (3, True, 3e-3),
        (6, False, 1e-4),
    ]
