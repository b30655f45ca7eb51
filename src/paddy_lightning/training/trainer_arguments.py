"""What may be said to Lightning's Trainer: every argument it has is taken here, or refused.

``TAKEN`` has been seen to work in a run; ``REFUSED`` is ours to set, or would break what a run
promises: an error rate and a checkpoint an epoch, and numbers that a resume does not change.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from paddy_lightning.errors import UserError, nearest

if TYPE_CHECKING:
    pass

REFUSED = {  # argument -> what to use for it
    "barebones": "profile=true, which tells where the time goes",
    "callbacks": "nothing: they are the run's",
    "check_val_every_n_epoch": "nothing: every epoch validates, and the best one is kept",
    "default_root_dir": "hydra.run.dir=",
    "enable_autolog_hparams": "nothing: a run always logs its knobs",
    "enable_checkpointing": "nothing: a run always keeps an epoch, as keep= says, and its last",
    "fast_dev_run": "trainer.limit_train_batches= and epochs=1",
    "limit_predict_batches": "images= of paddy predict",
    "limit_test_batches": "trainer.limit_val_batches=",
    "logger": "nothing: a run always logs to its folder",
    "max_epochs": "epochs= and freeze_epochs=",
    "max_steps": "epochs= for a shorter schedule, trainer.limit_train_batches= for shorter epochs",
    "min_epochs": "epochs= and freeze_epochs=",
    "min_steps": "epochs= and freeze_epochs=",
    "model_registry": "start=, which goes on from another run's weights",
    "overfit_batches": "trainer.limit_train_batches=",
    "plugins": "nothing: they are the run's",
    "precision": "precision=",
    "profiler": "profile=true",
    "reload_dataloaders_every_n_epochs": "nothing: every epoch has an order of its own",
    "strategy": "trainer.devices=: several train together, a process each",
    "sync_batchnorm": "batch_size=: each device normalises over its own share",
    "use_distributed_sampler": "nothing: several devices share out the pictures",
    "val_check_interval": "nothing: every epoch validates at its end",
}


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_share(value: Any) -> bool:
    return _is_whole(value, 1) or (isinstance(value, float) and 0 < value <= 1)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_device(value: Any) -> bool:
    count = isinstance(value, str) and value.isdecimal() and int(value) > 0
    several = isinstance(value, (list, tuple)) and len(set(value)) == len(value) > 0
    return count or _is_whole(value, 1) or (several and all(_is_whole(one, 0) for one in value))


def _is_time(value: Any) -> bool:
    try:
        return seconds_of(value) > 0
    except (TypeError, ValueError, OverflowError):
        return False


ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
SWITCH = ("true or false", _is_switch)
SHARE = ("a number of batches, such as 100, or a share of them, up to 1.0", _is_share)
TAKEN: dict[str, tuple[str, Callable[[Any], bool]]] = {  # argument -> its values, in words and code
    "accelerator": (", ".join(ACCELERATORS), lambda value: value in ACCELERATORS),
    "accumulate_grad_batches": ("a number above 0", lambda value: _is_whole(value, 1)),
    "benchmark": SWITCH,
    "detect_anomaly": SWITCH,
    "deterministic": ("true, false or warn", lambda value: value in (True, False, "warn")),
    "devices": ("a number, such as 2, or a list, [0,1]", _is_device),
    "enable_model_summary": SWITCH,
    "enable_progress_bar": SWITCH,
    "gradient_clip_algorithm": ("norm or value", lambda value: value in ("norm", "value")),
    "gradient_clip_val": (
        "a number above 0",
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0,
    ),
    "inference_mode": SWITCH,
    "limit_train_batches": SHARE,
    "limit_val_batches": SHARE,
    "log_every_n_steps": ("a number of steps, or 0", lambda value: _is_whole(value, 0)),
    "max_time": ("DAYS:HOURS:MINUTES:SECONDS, such as 00:08:30:00, or {hours: 8}", _is_time),
    "num_nodes": ("a number of machines", lambda value: _is_whole(value, 1)),
    "num_sanity_val_steps": ("a number of batches, or -1", lambda value: _is_whole(value, -1)),
}
ONE_STEP = (  # what a step of the finder has in common with one of training
    "accumulate_grad_batches",
    "benchmark",
    "detect_anomaly",
    "deterministic",
    "gradient_clip_algorithm",
    "gradient_clip_val",
)


def check_arguments(trainer: Mapping[str, Any]) -> None:
    """Refuse what a run cannot do, whatever the machine. A value of null is none given.

    Raises:
        UserError: Names the argument, what is wrong, and what to use.
    """
    from pytorch_lightning import Trainer

    known = inspect.signature(Trainer).parameters
    for name, value in trainer.items():
        if name not in known:
            raise UserError(
                f"trainer.{name}: Trainer has no such argument{nearest(str(name), known)}"
            )
        if value is None:
            continue
        if name in REFUSED:
            raise UserError(f"trainer.{name}: use {REFUSED[name]}")
        if name not in TAKEN:
            raise UserError(f"trainer.{name}: never tried with a run; leave it out")
        words, fits = TAKEN[name]
        if not fits(value):
            raise UserError(f"trainer.{name}={value}: give {words}")


def given(trainer: Mapping[str, Any], names: tuple[str, ...] = tuple(TAKEN)) -> dict[str, Any]:
    """Those of some arguments that have a value."""
    return {name: trainer[name] for name in names if trainer.get(name) is not None}


def one_device(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The first of the devices that train, for what one process does alone."""
    devices = given(trainer).get("devices", 1)
    first = list(devices[:1]) if isinstance(devices, (list, tuple)) else 1
    return {"devices": first, **given(trainer, ("accelerator",))}


def seconds_of(max_time: str | Mapping[str, float]) -> float:
    """A duration as Lightning writes it, ``00:08:30:00`` or ``{"hours": 8}``, in seconds.

    Raises:
        TypeError: Other words than ``days, hours, minutes, seconds ...``, or no numbers.
        ValueError: Another form.
        OverflowError: Longer than there are numbers for.
    """
    if isinstance(max_time, Mapping):
        return timedelta(**max_time).total_seconds()
    if not re.fullmatch(r"\d+(:\d\d){3}", str(max_time)):
        raise ValueError(max_time)
    days, hours, minutes, seconds = map(int, max_time.split(":"))
    return timedelta(days, seconds, hours=hours, minutes=minutes).total_seconds()
