"""Every argument of Lightning's Trainer: refused in a sentence, or seen at work in a run."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small import small

from paddy_lightning.config import TrainConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.prediction import views
from paddy_lightning.runs.trainer import device_of
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.check import check
from paddy_lightning.training.checkpoints import Checkpoints
from paddy_lightning.training.evaluation import evaluate_best
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.max_time import fit
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.run_log import RunLog
from paddy_lightning.training.train import train
from paddy_lightning.training.trainer_arguments import REFUSED, TAKEN, one_device, seconds_of

# A value of each argument that is taken, and what is then true of the trainer after an epoch of
# three batches of 16 pictures.
AT_WORK: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "accelerator": ("cpu", lambda trainer: trainer.strategy.root_device.type == "cpu"),
    "accumulate_grad_batches": (2, lambda trainer: trainer.global_step == 2),
    "benchmark": (True, lambda _: torch.backends.cudnn.benchmark),
    "detect_anomaly": (True, lambda trainer: trainer._detect_anomaly),
    "deterministic": (True, lambda _: torch.are_deterministic_algorithms_enabled()),
    "devices": ("1", lambda trainer: trainer.num_devices == 1),
    "enable_model_summary": (
        True,
        lambda trainer: any(isinstance(c, pl.callbacks.ModelSummary) for c in trainer.callbacks),
    ),
    "enable_progress_bar": (True, lambda trainer: trainer.progress_bar_callback is not None),
    "gradient_clip_algorithm": ("value", lambda t: t.gradient_clip_algorithm == "value"),
    "gradient_clip_val": (0.5, lambda trainer: trainer.gradient_clip_val == 0.5),
    "inference_mode": (False, lambda trainer: not trainer.predict_loop.inference_mode),
    "limit_train_batches": (2, lambda trainer: trainer.global_step == 2),
    "limit_val_batches": (1, lambda trainer: trainer.num_val_batches == [1]),
    "log_every_n_steps": (0, lambda trainer: trainer.log_every_n_steps == 0),
    "max_time": ("00:01:00:00", lambda trainer: trainer.global_step == 3),
    "num_nodes": (1, lambda trainer: trainer.num_nodes == 1),
    "num_sanity_val_steps": (0, lambda trainer: trainer.num_sanity_val_steps == 0),
}


def test_every_argument_is_taken_or_refused() -> None:
    """A new one of a later Lightning is somebody's to think about: give it its place."""
    known = inspect.signature(pl.Trainer).parameters
    assert set(TAKEN) | set(REFUSED) == set(known)
    assert not set(TAKEN) & set(REFUSED)
    assert set(AT_WORK) == set(TAKEN)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_what_to_use(name: str) -> None:
    with pytest.raises(UserError, match=rf"^trainer\.{name}: use [\w.]+[=:,]"):
        check(TrainConfig(trainer={name: 1}, weights="none"))
    check(TrainConfig(trainer={name: None}, weights="none"))


def test_what_nobody_has_tried_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TAKEN, "benchmark")
    with pytest.raises(UserError, match=r"trainer\.benchmark: never tried"):
        check(TrainConfig(trainer={"benchmark": True}))


@pytest.mark.parametrize("name", AT_WORK)
def test_what_is_taken_works(stripes: Path, tmp_path: Path, name: str) -> None:
    value, is_at_work = AT_WORK[name]
    flags = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    config = small(stripes, trainer={name: value}, epochs=1, freeze_epochs=0)
    check(config)
    data = open_data(config.data)
    table = split_readable(config, data)
    module, datamodule = build(config, data, table, Classifier)
    checkpoints = Checkpoints(tmp_path)
    log = RunLog(tmp_path, [0.5] * 3, [0.5] * 3)
    trainer = make_trainer(config, tmp_path, 48, [FineTune(phases_of(config)), log, checkpoints])
    try:
        assert fit(trainer, module, datamodule, None)
        assert is_at_work(trainer)
    finally:
        torch.backends.cudnn.benchmark = flags[0]
        torch.use_deterministic_algorithms(flags[1])
    found = evaluate_best(
        checkpoints.best,
        module,
        datamodule,
        table,
        tmp_path,
        "32-true",
        one_device(config.trainer),
        False,
    )
    assert 0 <= found["error_rate"] <= 1 and len(log.epochs) == 1


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "accelerator": (["cpu"], 1, "tpu", "CPU", ""),
        "accumulate_grad_batches": (0, -1, 2.5, True, "many", {4: 2}),
        "benchmark": ("yes", 2),
        "detect_anomaly": ("nan",),
        "deterministic": ("maybe", 2, []),
        "devices": (0, -1, "0", "all", 1.5, True, [], [0, 0], ["a"], [-1], "0,1"),
        "enable_model_summary": (1,),
        "enable_progress_bar": (0,),
        "gradient_clip_algorithm": ("max", True),
        "gradient_clip_val": (0, -1.0, float("nan"), "1", True),
        "inference_mode": ("no",),
        "limit_train_batches": (0, 0.0, -1, 1.5, "half", True),
        "limit_val_batches": (0, 0.0, -1, 1.5, float("nan")),
        "log_every_n_steps": (-1, 1.5, False),
        "max_time": (
            *(0, 3600, "1h", "8:30:00", "00:00:00:00", "99999999999:00:00:00"),
            *({"hours": "8"}, {"h": 8}, {"hours": 1e300}, {"hours": -1}, {}, timedelta(hours=8)),
        ),
        "num_nodes": (0, -1, 1.5, True, "2", [2]),
        "num_sanity_val_steps": (-2, 0.5),
    }.items(),
)
def test_strange_values_are_refused(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(UserError, match=rf"^trainer\.{name}=.*: give ") as refused:
            check(TrainConfig(trainer={name: value}))
        assert TAKEN[name][0] in str(refused.value)


def test_a_duration_is_read_as_lightning_reads_it() -> None:
    from pytorch_lightning.callbacks import Timer

    for value in ("00:08:30:00", "12:00:00:01", {"hours": 8, "minutes": 1.5}, {"weeks": 1}):
        assert seconds_of(value) == Timer(value).time_remaining()  # type: ignore[arg-type]


def test_the_environment_sets_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would take it for every Trainer, of training and of prediction."""
    monkeypatch.setenv("PL_TRAINER_LIMIT_VAL_BATCHES", "0")
    with pytest.raises(UserError, match=r"PL_TRAINER_LIMIT_VAL_BATCHES: unset it"):
        check(TrainConfig(trainer={"benchmark": True}, weights="none"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2, "trainer": {"devices": 2}}, "at least 2 for each of 2 devices"),
        ({"batch_size": 7, "trainer": {"devices": 2}}, "must divide among 2 devices"),
    ],
)
def test_a_device_has_two_pictures_a_step(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(TrainConfig(**changes))


@pytest.mark.parametrize("trainer", [None, ["devices"], "devices", {1: 2}, {"devcies": 2}])
def test_what_is_no_argument_is_refused(trainer: Any) -> None:
    with pytest.raises(UserError, match=r"^trainer"):
        check(TrainConfig(trainer=trainer))


def test_what_only_the_data_can_tell_is_refused_in_a_sentence(
    stripes: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"limit_train_batches"):
        train(small(stripes, trainer={"limit_train_batches": 0.1}), tmp_path / "run")


def test_the_last_evaluation_is_on_the_device_that_trained(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def device_of(**device: Any) -> torch.device:
        told.append(device)
        return torch.device("cpu")

    monkeypatch.setattr(views, "device_of", device_of)
    config = small(stripes, epochs=1, freeze_epochs=0)
    data = open_data(config.data)
    table = split_readable(config, data)
    module, datamodule = build(config, data, table, Classifier)
    config.trainer = {"accelerator": "gpu", "devices": [3, 1]}
    best = tmp_path / "best.ckpt"
    facts = {"class_names": data.train["label"].unique().tolist()}
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": facts, "epoch": 0}, best)
    evaluate_best(
        best,
        module,
        datamodule,
        table,
        tmp_path,
        config.precision,
        one_device(config.trainer),
        config.tta,
    )
    assert told == [{"accelerator": "gpu", "devices": [3]}]


@pytest.mark.parametrize(
    ("here", "told", "device"),
    [
        ("cuda", {"accelerator": "gpu", "devices": [3]}, "cuda:3"),
        ("cuda", {"devices": 1}, "cuda:0"),
        ("cuda", {"devices": 1, "accelerator": "cpu"}, "cpu"),
        ("mps", {"devices": 1}, "mps"),
        ("mps", {"devices": 1, "accelerator": "cpu"}, "cpu"),
        ("none", {"devices": 1}, "cpu"),
    ],
)
def test_a_device_is_the_one_that_lightning_takes(
    monkeypatch: pytest.MonkeyPatch, here: str, told: dict[str, Any], device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: here == "mps")
    assert device_of(**told) == torch.device(device)


@pytest.mark.parametrize(
    ("trainer", "one"),
    [
        ({}, {"devices": 1}),
        ({"devices": 2, "accelerator": "gpu"}, {"devices": 1, "accelerator": "gpu"}),
        ({"devices": "2"}, {"devices": 1}),
        ({"devices": [3, 1], "accelerator": None}, {"devices": [3]}),
        ({"devices": (3,), "max_time": "00:00:00:01"}, {"devices": [3]}),
        ({"devices": 2, "num_nodes": 2}, {"devices": 1}),
    ],
)
def test_the_first_device_does_what_one_does_alone(
    trainer: dict[str, Any], one: dict[str, Any]
) -> None:
    assert one_device(trainer) == one
