"""All refusals that need no data: wrong values, before anything is read, built or written."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddy_lightning.config import OFF, PredictConfig, Schedule, TrainConfig
from paddy_lightning.errors import UserError, nearest
from paddy_lightning.quiet import leave_out_small_talk

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

OWN_KNOBS = {  # Trainer's arguments that are ours to set, and what to use for them
    "max_epochs": "epochs= and freeze_epochs=",
    "precision": "precision=",
    "logger": "nothing: a run always logs to its folder",
    "callbacks": "nothing: they are the run's",
    "fast_dev_run": "trainer.limit_train_batches= and epochs=1",
    "plugins": "nothing: they are the run's",
    "default_root_dir": "hydra.run.dir=",
}
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")


def check(config: TrainConfig) -> None:
    """Refuse what cannot be trained, whatever the data.

    Raises:
        UserError: Names the knob, what is wrong with its value, and what to do.
    """
    check_counts(config, epochs=0, freeze_epochs=0, seed=0)
    check_split(config)
    check_counts(config, batch_size=2, num_workers=0)  # the head normalises over a batch
    if config.seed >= 2**32:
        raise UserError(f"seed={config.seed}: must be below 2**32")
    if config.epochs + config.freeze_epochs == 0:
        raise UserError("epochs=0 freeze_epochs=0: nothing to train; set one of them")
    if config.unfrozen_lr is not None:
        if config.schedule is not Schedule.one_cycle:
            raise UserError(f"unfrozen_lr={config.unfrozen_lr}: goes with schedule=one_cycle only")
        if not 0 < config.unfrozen_lr < float("inf"):
            raise UserError(f"unfrozen_lr={config.unfrozen_lr}: must be above 0, such as 1e-4")
    if config.cache_gb <= 0:
        raise UserError(f"cache_gb={config.cache_gb}: must be above 0; cache=off goes without")
    if config.cache not in (None, OFF) and Path(config.cache).expanduser().is_file():
        raise UserError(f"cache={config.cache}: is a file; name a folder, or off")
    if not 0 < config.min_scale <= 1:
        raise UserError(f"min_scale={config.min_scale}: must be above 0 and at most 1")
    if config.precision not in PRECISIONS:
        near = nearest(config.precision, PRECISIONS)
        raise UserError(f"precision={config.precision}: not one of {', '.join(PRECISIONS)}{near}")
    _check_augment(config)
    _check_trainer(config)
    _check_model(config)


def check_split(config: TrainConfig) -> None:
    """Refuse a split that no data could have.

    Raises:
        UserError: Names the knob.
    """
    check_counts(config, folds=2, split_seed=0)
    if config.fold is not None and not 0 <= config.fold < config.folds:
        raise UserError(f"fold={config.fold}: must be from 0 to {config.folds - 1} (folds - 1)")
    if config.split_seed >= 2**32:
        raise UserError(f"split_seed={config.split_seed}: must be below 2**32")


def check_counts(config: TrainConfig | PredictConfig, **least: int) -> None:
    """Refuse knobs below their least value; null passes.

    Raises:
        UserError: Names the knob.
    """
    for name, bound in least.items():
        value = getattr(config, name)
        if value is not None and value < bound:
            raise UserError(f"{name}={value}: must be at least {bound}")


def _check_augment(config: TrainConfig) -> None:
    if config.augment:
        from paddy_lightning.augment import kornia_augmentations

        kornia_augmentations(config.augment)


def _check_trainer(config: TrainConfig) -> None:
    if not config.trainer:
        return
    from pytorch_lightning import Trainer

    known = inspect.signature(Trainer).parameters
    for name in config.trainer:
        if name in OWN_KNOBS:
            raise UserError(f"trainer.{name}: use {OWN_KNOBS[name]}")
        if name not in known:
            raise UserError(f"trainer.{name}: Trainer has no such argument{nearest(name, known)}")
    devices = num_devices(config)
    if devices > 1 and config.batch_size % devices:
        raise UserError(f"batch_size={config.batch_size}: must divide among {devices} devices")
    one = {"devices": 1} if devices > 1 else {}  # several are found when they are started
    lightning_trainer(**{"logger": False, "enable_checkpointing": False, **config.trainer, **one})


def num_devices(config: TrainConfig) -> int:
    """How many devices ``trainer.devices`` asks for.

    Raises:
        UserError: Neither a number above 0 nor a list of devices.
    """
    devices = config.trainer.get("devices", 1)
    if isinstance(devices, (list, tuple)) and devices:
        return len(devices)
    try:
        count = int(devices)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise UserError(f"trainer.devices={devices}: give a number, such as 2, or a list, [0,1]")
    return count


def lightning_trainer(**arguments: Any) -> "Trainer":
    """Lightning's Trainer, its refusals as ours: such as of a device that is not there.

    It counts its processes as we do, whatever Slurm or torchrun have in the environment.

    Raises:
        UserError: With the first line of what Lightning says.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from pytorch_lightning import Trainer
    from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined] # isort: skip

    leave_out_small_talk()
    plugins = [*arguments.get("plugins", ()), LightningEnvironment()]
    try:
        return Trainer(**arguments | {"plugins": plugins})
    except (MisconfigurationException, ValueError, TypeError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise UserError(f"trainer, precision: {first_line}") from error


def _check_model(config: TrainConfig) -> None:
    from paddy_lightning.model import resolve_arch

    resolve_arch(config.arch)
    if config.weights not in ("pretrained", "none") and not Path(config.weights).is_file():
        raise UserError(
            f"weights={config.weights}: no such file; give pretrained, none or a file of weights"
        )
