"""All refusals that need no data: wrong values, before anything is read, built or written."""

from pathlib import Path

from paddy_lightning.choices import OFF, Schedule
from paddy_lightning.config import TrainConfig, check_counts, check_split
from paddy_lightning.errors import UserError, nearest
from paddy_lightning.ranks import SRUN, started, starter
from paddy_lightning.runs.trainer import lightning_trainer
from paddy_lightning.training.trainer_arguments import check_arguments, given, one_device

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
    _check_rates(config)
    if config.cache_gb <= 0:
        raise UserError(f"cache_gb={config.cache_gb}: must be above 0; cache=off goes without")
    if config.cache not in (None, OFF) and Path(config.cache).expanduser().is_file():
        raise UserError(f"cache={config.cache}: is a file; name a folder, or off")
    if not 0 < config.min_scale <= 1:
        raise UserError(f"min_scale={config.min_scale}: must be above 0 and at most 1")
    if config.precision not in PRECISIONS:
        near = nearest(str(config.precision), PRECISIONS)
        raise UserError(f"precision={config.precision}: not one of {', '.join(PRECISIONS)}{near}")
    _check_augment(config)
    _check_targets(config)
    _check_trainer(config)
    _check_model(config)


def _check_rates(config: TrainConfig) -> None:
    """Refuse numbers that the optimizer or the loss cannot work with."""
    if config.lr_mult is not None and not 0 < config.lr_mult < float("inf"):
        raise UserError(f"lr_mult={config.lr_mult}: must be above 0, such as 1 or 100")
    if config.schedule is Schedule.one_cycle and config.lr_mult is not None:
        raise UserError(f"lr_mult={config.lr_mult}: goes with schedule=fine_tune only")
    if not 0 < config.layer_decay <= 1:
        raise UserError(f"layer_decay={config.layer_decay}: must be above 0 and at most 1")
    if not 0 <= config.weight_decay < float("inf"):
        raise UserError(f"weight_decay={config.weight_decay}: must be at least 0, such as 0.01")
    for name in ("drop_rate", "label_smoothing"):
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise UserError(f"{name}={value}: must be at least 0, below 1")


def _check_augment(config: TrainConfig) -> None:
    if config.augment:
        from paddy_lightning.data.augment import kornia_augmentations

        kornia_augmentations(config.augment)


def _check_targets(config: TrainConfig) -> None:
    """Refuse soft targets that no data could have."""
    for name in ("mixup", "cutmix"):
        if not 0 <= (alpha := getattr(config, name)) < float("inf"):
            raise UserError(f"{name}={alpha}: must be at least 0, such as 0.4 or 1")
    if not 0 <= config.soft_share <= 1:
        raise UserError(f"soft_share={config.soft_share}: must be from 0 to 1")
    if config.soft_labels is not None:
        from paddy_lightning.data.soft_labels import read_out_of_fold

        read_out_of_fold(Path(config.soft_labels))
    elif config.soft_share != TrainConfig.soft_share:
        raise UserError(f"soft_share={config.soft_share}: goes with soft_labels= only")


def _check_trainer(config: TrainConfig) -> None:
    if not isinstance(config.trainer, dict):
        raise UserError(f"trainer={config.trainer}: give arguments by name, such as {{devices: 2}}")
    if config.trainer:
        check_arguments(config.trainer)
    _check_processes(num_devices(config), int(given(config.trainer).get("num_nodes", 1)))
    if not config.trainer:
        return
    devices = num_devices(config)
    if config.batch_size % devices:
        raise UserError(f"batch_size={config.batch_size}: must divide among {devices} devices")
    if config.batch_size < 2 * devices:  # the head normalises over a device's share
        raise UserError(
            f"batch_size={config.batch_size}: must be at least 2 for each of {devices} devices"
        )
    arguments = given(config.trainer) | one_device(config.trainer)  # others when they are started
    for name in ("max_time", "num_nodes"):
        arguments.pop(name, None)
    lightning_trainer(logger=False, enable_checkpointing=False, **arguments)


def _check_processes(devices: int, nodes: int) -> None:
    """Refuse other processes than there are devices: of several nodes, all are started outside."""
    on_each, in_all = started()
    asked = f"--nnodes={nodes} --nproc-per-node={devices // nodes}"
    tasks = f"srun --nodes={nodes} --ntasks-per-node={devices // nodes} paddy train ..."
    if (who := starter()) is None and nodes > 1:
        raise UserError(
            f"trainer.num_nodes={nodes}: start it on each of them with torchrun {asked}"
            " --rdzv-backend=c10d --rdzv-endpoint=HOST:29500 -m paddy_lightning train ..., or once"
            f" with {tasks}"
        )
    if who == SRUN and not on_each:
        raise UserError(f"srun: say how many processes a node has, such as {tasks}")
    if who and (on_each, in_all) != (devices // nodes, devices):
        raise UserError(
            f"{who}: has started {in_all} processes, {on_each} on this machine, and not"
            f" {devices}, {devices // nodes} on each: say trainer.devices={on_each}"
            f" trainer.num_nodes={in_all // on_each}"
        )


def num_devices(config: TrainConfig) -> int:
    """How many devices train together: as many as ``trainer.devices`` asks for, on each node."""
    told = given(config.trainer)
    devices = told.get("devices", 1)
    on_each = len(devices) if isinstance(devices, (list, tuple)) else int(devices)
    return on_each * int(told.get("num_nodes", 1))


def _check_model(config: TrainConfig) -> None:
    from paddy_lightning.network.model import check_arch_args, resolve_arch

    resolve_arch(config.arch)
    check_arch_args(config.arch_args)
    if config.weights not in ("pretrained", "none") and not Path(config.weights).is_file():
        raise UserError(
            f"weights={config.weights}: no such file; give pretrained, none or a file of weights"
        )


def refuse_devices_in_one_process(config: TrainConfig) -> None:
    """Several devices need the script, which starts a process for each.

    Raises:
        UserError: They are asked for otherwise.
    """
    if num_devices(config) > 1 and starter() is None:
        raise UserError(
            "trainer.devices: several are for paddy train, which starts a process for each"
        )


def require_weights(config: TrainConfig) -> None:
    """Refuse, before any data is read or drawn, weights that cannot be had.

    Raises:
        UserError: Names the ways out.
    """
    from paddy_lightning.network.model import require_pretrained
    from paddy_lightning.runs.trained import load_checkpoint

    if config.start:
        load_checkpoint(config.start)
    elif config.weights == "pretrained":
        require_pretrained(config.arch)
