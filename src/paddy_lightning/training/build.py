"""A typed config -> the objects of a run: what the knobs mean.

Below this file nothing knows of the config: every constructor has plain named arguments.
"""

import logging
import signal
import sys
from pathlib import Path
from typing import Any, TypeVar, assert_never

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from paddy_lightning import ranks
from paddy_lightning.choices import Schedule
from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.soft_targets import SoftTargets
from paddy_lightning.data.table import DataSet
from paddy_lightning.data.workers import default_num_workers, fitting_workers
from paddy_lightning.errors import UserError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import Network, build_model, resolve_arch
from paddy_lightning.network.param_groups import default_lr_mult
from paddy_lightning.prediction.tta import TTA_VIEWS
from paddy_lightning.runs.trained import augment_of, load_checkpoint, presize_of
from paddy_lightning.runs.trainer import lightning_trainer, usable_precision
from paddy_lightning.training.check import num_devices
from paddy_lightning.training.checkpoints import WholeFiles
from paddy_lightning.training.max_time import MaxTime
from paddy_lightning.training.profiling import EpochProfiler, MarkValidation
from paddy_lightning.training.readable import cache_of
from paddy_lightning.training.run_log import RateLog
from paddy_lightning.training.schedule import Phase, fine_tune, one_cycle
from paddy_lightning.training.targets import class_weights, targets_of
from paddy_lightning.training.trainer_arguments import given, seconds_of

log = logging.getLogger(__name__)
FEW_STEPS = 10  # an epoch
C = TypeVar("C", bound=Classifier)


def build(
    config: TrainConfig,
    data: DataSet,
    table: pd.DataFrame,
    kind: type[C],
    from_last: bool = False,
) -> tuple[C, PaddyDataModule]:
    """The module and the loaders of a config.

    Args:
        config: Every knob.
        data: Where the pictures are.
        table: The pictures, split.
        kind: Of module.
        from_last: Whether all weights will come from a checkpoint, so that none are fetched.

    Raises:
        UserError: Too few pictures to train on, or soft labels that this run cannot have.
    """
    refuse_too_few(config, data, int((~table["is_valid"]).sum()))
    class_names = sorted(table["label"].unique())
    targets = targets_of(config, table, class_names)
    pl.seed_everything(config.seed, verbose=False)
    weights = "none" if from_last or config.start else config.weights
    model = build_model(
        config.arch, len(class_names), weights, config.size, config.arch_args, config.drop_rate
    )
    facts = checkpoint_facts(config, data, class_names, model)
    module = kind(
        model,
        len(class_names),
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
        label_smoothing=config.label_smoothing,
        class_weights=class_weights(config.class_weights, table, class_names),
        facts=facts,
    )
    if config.start and not from_last:
        start_from(module, config.start)
    if ranks.starter():
        # As the gradients come: otherwise every one is copied before the ranks share it.
        module.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module, build_datamodule(config, data.root, table, class_names, facts, targets)


def build_datamodule(
    config: TrainConfig,
    root: Path,
    table: pd.DataFrame,
    class_names: list[str],
    facts: dict[str, Any],
    targets: SoftTargets | None = None,
) -> PaddyDataModule:
    """The loaders of a config, from the cache where there is one.

    Args:
        config: Every knob.
        root: What the table's paths are relative to.
        table: The pictures, split.
        class_names: In the order of the logits.
        facts: Of the checkpoint.
        targets: Of training, where they are soft.
    """
    cache = cache_of(config, root)
    return PaddyDataModule(
        root,
        table,
        class_names,
        presize_of(facts),
        augment_of(facts),
        cache.open(table["file"]) if cache else None,
        config.batch_size,
        fitting_workers(default_num_workers(config.num_workers), config.presize, config.batch_size),
        config.seed,
        tta=TTA_VIEWS if config.tta else 0,
        soft_targets=targets,
    )


def refuse_too_few(config: TrainConfig, data: DataSet, num_train: int) -> None:
    """Return if each device has two pictures a step: the head normalises over them.

    Raises:
        UserError: It has not.
    """
    devices = num_devices(config)
    if num_train < 2 * devices:
        needs = f"{devices} devices need two each" if devices > 1 else "there must be two"
        raise UserError(f"{data.root}: {num_train} pictures to train on; {needs}")


def say_if_steps_are_few(config: TrainConfig, num_train: int) -> None:
    """A line where an epoch is so short that a schedule of few epochs is a coarse one."""
    told = given(config.trainer)
    batches = max(1, num_train // config.batch_size)
    together = min(told.get("accumulate_grad_batches", 1), batches)
    steps = -(-batches // together)
    if steps < FEW_STEPS and "limit_train_batches" not in told:
        log.info(
            "an epoch has %d steps of %d pictures and leaves out %d: a smaller batch_size= makes"
            " more of them",
            *(steps, min(num_train, config.batch_size * together)),
            max(0, num_train - batches * config.batch_size),
        )


def start_from(module: Classifier, run: str) -> None:
    """Load the weights of another run, head included.

    Raises:
        UserError: It has another arch or other classes.
    """
    checkpoint = load_checkpoint(run)
    ours, theirs = module.hparams, checkpoint["hyper_parameters"]
    for name in ("arch", "class_names"):
        if ours[name] != theirs[name]:
            raise UserError(f"start={run}: has another {name}: {theirs[name]}, not {ours[name]}")
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        first_line = str(error).strip().split("\n")[0]
        raise UserError(f"start={run}: does not fit ({first_line}); set the same size=") from error


def phases_of(config: TrainConfig) -> list[Phase]:
    """The schedule that the knobs ask for."""
    match config.schedule:
        case Schedule.fine_tune:
            mult = default_lr_mult(config.arch) if config.lr_mult is None else config.lr_mult
            return fine_tune(config.epochs, config.lr, config.freeze_epochs, mult)
        case Schedule.one_cycle:
            return one_cycle(config.epochs, config.lr, config.freeze_epochs, config.unfrozen_lr)
        case _:
            assert_never(config.schedule)


def checkpoint_facts(
    config: TrainConfig, data: DataSet, class_names: list[str], model: Network
) -> dict[str, Any]:
    """All that predicting needs besides the weights, as plain values."""
    knobs = plain(config)
    return {
        "arch": resolve_arch(config.arch)[0],
        "arch_args": knobs["arch_args"],
        "class_names": class_names,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "mean": model.mean,
        "std": model.std,
        "data": plain(data.config),
        "from": str(Path.cwd()),
        **{key: knobs[key] for key in ("presize", "size", "resize", "pad_mode", "draft")},
        **{key: knobs[key] for key in ("min_scale", "augment", "seed", "precision")},
        "config": knobs,
    }


def make_trainer(
    config: TrainConfig, run_dir: Path, num_train: int, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """A Trainer with the run's callbacks and its TensorBoard log.

    Raises:
        UserError: An argument under ``trainer.`` that Lightning refuses.
    """
    steps = num_train // config.batch_size
    say_if_steps_are_few(config, num_train)
    told = given(config.trainer)
    max_time = told.pop("max_time", None)
    timers = [MaxTime(seconds_of(max_time))] if max_time else []
    arguments = {
        "log_every_n_steps": max(1, min(50, steps // 4)),
        "devices": 1,
        "enable_progress_bar": sys.stderr.isatty(),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,  # every picture was read before
        **told,
        "max_epochs": config.epochs + config.freeze_epochs,
        "precision": usable_precision(config.precision, told.get("accelerator"), notice=True),
        "logger": TensorBoardLogger(run_dir, name="", version=""),
        "callbacks": [*timers, *callbacks, RateLog()],
        "plugins": [WholeFiles()],
    }
    if config.profile:
        arguments["profiler"] = profiler = EpochProfiler()
        arguments["callbacks"] = [MarkValidation(profiler), *arguments["callbacks"]]
    if ranks.starter():
        # What is frozen gets no gradient; and validation, whose shares are not equally long, must
        # not wait for the others' buffers (FineTune sends them in time).
        arguments["strategy"] = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
        arguments["use_distributed_sampler"] = False  # the DataModule shares out by itself
        ends = LambdaCallback(on_sanity_check_start=end_at_once, on_train_start=end_at_once)
        arguments["callbacks"] = [*arguments["callbacks"], ends]
    return lightning_trainer(**arguments)


def end_at_once(*_: Any) -> None:
    """Be interrupted by SIGTERM, as before Lightning put in its own way for several ranks.

    That one waits for an answer of the others, which may wait for this one in the midst of a step.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
