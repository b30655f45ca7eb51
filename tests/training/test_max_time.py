"""A run whose time is over: evaluated, honest about it, and gone on with as if never stopped."""

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from small import small

from paddy_lightning.cli.help import CONF
from paddy_lightning.cli.schemas import register_schemas
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import compare
from paddy_lightning.insight.interpret import interpret
from paddy_lightning.prediction.predict import predict
from paddy_lightning.training import max_time
from paddy_lightning.training.train import resume, train
from paddy_lightning.training.trainer_arguments import check_arguments, given, seconds_of


@pytest.fixture(autouse=True)
def _a_batch_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is looked at once at the start, and once before every batch."""
    seconds = itertools.count()
    monkeypatch.setattr(max_time, "monotonic", lambda: next(seconds))


def test_a_stopped_run_can_be_used_and_gone_on_with(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three batches an epoch: the time is over before the third batch of the second epoch."""
    caplog.set_level("INFO")
    whole = train(small(stripes), tmp_path / "whole")
    config = small(stripes, trainer={"max_time": "00:00:00:06"})
    stopped = train(config, tmp_path / "run")
    reason = "trainer.max_time=00:00:00:06 was over after 1 of 3 epochs"
    assert (stopped["status"], stopped["reason"]) == ("stopped", reason)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == stopped
    assert f"stopped ({reason})" in caplog.text.splitlines()[-1]
    assert caplog.text.rstrip().endswith(f"paddy train resume={tmp_path / 'run'}")
    assert stopped["kept_epoch"] == 1 and 0 <= stopped["error_rate"] <= 1
    assert len(predict(tmp_path / "run")) == 8
    interpret(tmp_path / "run")
    card = (tmp_path / "run" / "interpretation.md").read_text()
    assert "stopped after 1 of 3 epochs, before its rates had come down" in card
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "stopped"
    runs = compare([tmp_path / "whole", tmp_path / "run"]).runs
    told = runs.set_index("run").loc["run"]
    assert told["status"] == "stopped" and told["reason"] == reason
    assert runs["against_best"].ne("").sum() == 1  # one is the best

    again = resume(tmp_path / "run")  # six more seconds: the second epoch and half of the third
    assert (again["status"], len(pd.read_csv(tmp_path / "run" / "metrics.csv"))) == ("stopped", 2)
    done = resume(tmp_path / "run", trainer={"max_time": None})
    assert done["status"] == "done" and "reason" not in done
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert done["valid_loss"] == whole["valid_loss"]
    epochs = [
        pd.read_csv(tmp_path / name / "metrics.csv")[["train_loss", "valid_loss", "error_rate"]]
        for name in ("whole", "run")
    ]
    assert epochs[0].equals(epochs[1])
    states = [
        torch.load(tmp_path / name / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "run")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_less_time_than_an_epoch_takes_is_told(stripes: Path, tmp_path: Path) -> None:
    config = small(stripes, trainer={"max_time": {"seconds": 3}})
    with pytest.raises(UserError, match="was over before the first epoch's end, and nothing is"):
        train(config, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed" and "give more time" in summary["reason"]
    done = resume(tmp_path / "run", trainer={"max_time": "01:00:00:00"})
    assert done["status"] == "done"


def test_time_that_is_over_with_the_last_batch_stops_nothing(stripes: Path, tmp_path: Path) -> None:
    config = small(stripes, epochs=1, freeze_epochs=0, trainer={"max_time": "00:00:00:04"})
    assert train(config, tmp_path / "run")["status"] == "done"


@pytest.mark.parametrize(
    ("typed", "seconds"), [("00:08:30:00", 30_600), ("{hours: 8}", 28_800), ("null", None)]
)
def test_a_duration_can_be_typed(typed: str, seconds: int | None) -> None:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", [f"trainer.max_time={typed}"]))
    assert isinstance(config, TrainConfig)
    check_arguments(config.trainer)
    told = given(config.trainer).get("max_time")
    assert (seconds_of(told) if told else None) == seconds
