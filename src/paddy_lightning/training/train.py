"""train(config) -> summary: one run from its data to its folder, or on from where it stopped."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from paddy_lightning import ranks
from paddy_lightning.atomic import write_json
from paddy_lightning.choices import DataConfig
from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.labels import csv_table
from paddy_lightning.data.table import DataSet, describe, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.insight.figures import save_figures
from paddy_lightning.insight.interpret import write_interpretation
from paddy_lightning.knob import FIND
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.param_groups import set_frozen
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.pictures import open_again, refuse_lost
from paddy_lightning.runs.run_folder import (
    from_anywhere,
    keep_soft_labels,
    locked,
    new_run_folder,
    read_config,
    save_config,
    whole_config,
)
from paddy_lightning.runs.summary import (
    Summary,
    closing_line,
    first_summary,
    read_summary,
    result_line,
    summarised,
)
from paddy_lightning.runs.trainer import usable_precision
from paddy_lightning.runs.valid_right import ValidRight
from paddy_lightning.training.averaging import WeightAverage
from paddy_lightning.training.build import build, make_trainer, phases_of
from paddy_lightning.training.changes import told_of_changes
from paddy_lightning.training.check import (
    check,
    refuse_devices_in_one_process,
    require_weights,
)
from paddy_lightning.training.checkpoints import Checkpoints
from paddy_lightning.training.evaluation import evaluate_best
from paddy_lightning.training.fine_tune import FineTune
from paddy_lightning.training.last_look import last_look, unseen_table
from paddy_lightning.training.leak import refuse_leak
from paddy_lightning.training.max_time import fit, stopped_early
from paddy_lightning.training.profiling import tell_profile
from paddy_lightning.training.readable import presize_all, split_readable
from paddy_lightning.training.run_log import RunLog, log_hyperparameters
from paddy_lightning.training.trainer_arguments import one_device

log = logging.getLogger(__name__)


@left_as_found()
def train(config: TrainConfig, run_dir: str | Path | None = None) -> Summary:
    """Fine-tune a network, and keep all that is needed to use it in a run folder.

    Args:
        config: Every knob.
        run_dir: The run folder; None for a new one, ``outputs/<date and time>``.

    Returns:
        What ``summary.json`` holds: ``status``, ``run_dir``, ``error_rate`` and ``valid_loss``
        of the best checkpoint, ``last_error_rate`` of the last epoch, ``tta_error_rate`` ...

    Raises:
        UserError: Something in the config or the data that the user can mend.
    """
    if config.resume:
        return _resume(config)
    check(config)
    refuse_devices_in_one_process(config)
    require_weights(config)
    with _own_folder(run_dir) as folder:
        data = open_data(config.data)
        log.info(describe(data))
        config = from_anywhere(config, data.config)
        table = split_readable(config, data)
        if config.start:
            refuse_leak(config, data, table)
        found = None
        if config.lr == FIND:
            found = _find_lr(config, folder, data, table)["valley"]
            config = replace(config, lr=found)
            log.info("lr=find: %.2e, the valley", found)
        return _run(config, folder, data, table, lr_found=found)


@left_as_found()
def resume(
    run_dir: str | Path,
    num_workers: int | None = None,
    trainer: dict[str, Any] | None = None,
    cache: str | None = None,
    data_root: str | Path | None = None,
) -> Summary:
    """Go on with a run that was stopped, in its own folder, from its last whole epoch.

    Same numbers as if it had never been stopped: bit for bit on a CPU.

    Args:
        run_dir: The run folder.
        num_workers: In place of the run's own.
        trainer: Further arguments of Lightning's Trainer.
        cache: In place of the run's own.
        data_root: Where the pictures are now, if they were moved.

    Returns:
        As ``train``.

    Raises:
        UserError: No run there, it is done, it goes on elsewhere, or its pictures are gone.
    """
    data = DataConfig(root=None if data_root is None else str(data_root))
    told = TrainConfig(data, resume=str(run_dir), num_workers=num_workers, cache=cache)
    return _resume(replace(told, trainer=trainer or {}))


def _resume(told: TrainConfig) -> Summary:
    """Go on with the run that ``told.resume`` names, with what is told beside it."""
    run_dir, config = Path(str(told.resume)), whole_config(told)
    with nullcontext() if ranks.rank() else locked(run_dir):
        earlier = read_summary(run_dir)
        if earlier.get("status") == "done":
            raise UserError(f"{run_dir}: is done; there is nothing to go on with")
        last = (run_dir / "checkpoints" / "last.ckpt").exists()
        check(replace(config, weights="none") if last else config)  # whose file may be gone
        refuse_devices_in_one_process(config)
        data = open_again(run_dir, config.data)
        log.info(describe(data))
        table = csv_table(run_dir / "pictures.csv")
        refuse_lost(run_dir, presize_all(config, data.root, table["file"]))
        own = read_config(run_dir)
        if own.data != data.config and not ranks.rank():
            save_config(run_dir, replace(own, data=data.config))
        config = replace(config, data=data.config)
        return _run(config, run_dir, data, table, earlier, earlier.get("lr_found"))


@left_as_found()
def find_lr(config: TrainConfig, run_dir: str | Path | None = None) -> dict[str, float]:
    """Search for a learning rate for the first phase that ``config`` would train.

    Args:
        config: Every knob, as for ``train``; ``lr`` is not looked at.
        run_dir: Where ``lr_find.csv`` and ``figures/lr_find.png`` go; None for a new folder.

    Returns:
        A rate by each reading: ``minimum``, ``steep``, ``valley``, ``slide``.

    Raises:
        UserError: As ``train``; or a loss that grows from the start.
    """
    check(config)
    require_weights(config)
    with new_run_folder(run_dir) as folder:
        data = open_data(config.data)
        log.info(describe(data))
        return _find_lr(config, folder, data, split_readable(config, data))


def _find_lr(
    config: TrainConfig, run_dir: Path, data: DataSet, table: pd.DataFrame
) -> dict[str, float]:
    from paddy_lightning.training import lr_find  # brings matplotlib: few need it

    if ranks.starter():
        raise UserError("lr=find: goes with one device; run paddy lr-find on it, and give its rate")
    module, datamodule = build(config, data, table, lr_find.Searched)
    set_frozen(module.model.get_submodule("body"), config.freeze_epochs > 0, config.bn)
    precision = usable_precision(config.precision, config.trainer.get("accelerator"))
    curve = lr_find.search(module, datamodule, precision, config.trainer)
    rates = lr_find.suggestions(curve)
    write_table(run_dir / "lr_find.csv", curve)
    save_figures(run_dir, {"lr_find": lambda: lr_find.plot(curve, rates)})
    log.info("lr_find: %s", "  ".join(f"{name} {lr:.2e}" for name, lr in rates.items()))
    return rates


def _own_folder(run_dir: str | Path | None) -> AbstractContextManager[Path]:
    """A new run's folder; the ranks after the first leave it to that one."""
    return nullcontext(Path(run_dir or "")) if ranks.rank() else new_run_folder(run_dir)


def _run(
    config: TrainConfig,
    run_dir: Path,
    data: DataSet,
    table: pd.DataFrame,
    earlier: Summary | None = None,
    lr_found: float | None = None,
) -> Summary:
    """Build, fit, evaluate; goes on from ``last.ckpt`` where there is one.

    Args:
        config: Every knob.
        run_dir: The run folder.
        data: Where the pictures are.
        table: The pictures, split.
        earlier: The summary of a run to go on with; None for a new one.
        lr_found: The rate, where ``lr=find`` found it.
    """
    unseen = unseen_table(Path(config.test), data.root, table) if config.test else None
    average = WeightAverage(phases_of(config)) if config.ema else None
    checkpoints = Checkpoints(run_dir, config.keep, average)
    # The folder that other ranks than the first are told for a new run is nobody's.
    last = None if earlier is None else checkpoints.to_go_on_from()
    module, datamodule = build(config, data, table, Classifier, from_last=last is not None)
    facts: Any = module.hparams
    run_log = RunLog(run_dir, facts["mean"], facts["std"])
    right = ValidRight(run_dir, datamodule.valid_rows)
    fine_tune = FineTune(phases_of(config), config.seed, config.bn)
    # The average first: what the others see of a validation is its.
    callbacks = [*filter(None, [average]), fine_tune, run_log, right, checkpoints]
    trainer = make_trainer(config, run_dir, len(datamodule.train_rows), callbacks)

    if ranks.rank():  # the first rank keeps the run's folder
        fit(trainer, module, datamodule, last)
        return {}
    if earlier is None:
        write_table(run_dir / "pictures.csv", table)
        keep_soft_labels(run_dir, config)
        save_config(run_dir, config)
    summary = first_summary(config, run_dir, facts, table, earlier or {})
    summary["lr_found"] = lr_found
    with summarised(run_dir, summary), told_of_changes(datamodule):
        in_time = fit(trainer, module, datamodule, last)
        right.write()
        told = (config.trainer.get("max_time"), len(run_log.epochs), summary["epochs"])
        end = {} if in_time else stopped_early(*told)
        seen_last = unseen if in_time else None
        summary |= _judged(config, run_dir, module, datamodule, table, seen_last)
        log.info("%s", result_line(summary))
        summary |= run_log.told()
        write_json(run_dir / "summary.json", summary)
        summary |= write_interpretation(run_dir).summary
        log_hyperparameters(trainer, plain(config), summary)
        summary |= end
    if summary["status"] == "done":
        checkpoints.last.unlink()
    kept = datamodule.pictures.kept is not None
    tell_profile(trainer, run_dir, datamodule.num_workers, kept)
    log.info("%s", closing_line(summary))
    return summary


def _judged(
    config: TrainConfig,
    run_dir: Path,
    module: Classifier,
    datamodule: PaddyDataModule,
    table: pd.DataFrame,
    unseen: pd.DataFrame | None,
) -> Summary:
    """The kept epoch on what validates, and at the very end on what nobody has seen."""
    how = (config.precision, one_device(config.trainer))
    best = run_dir / "checkpoints" / "best.ckpt"
    found = evaluate_best(best, module, datamodule, table, run_dir, *how, config.tta)
    if unseen is not None:
        test = Path(str(config.test))
        found |= last_look(test, unseen, module, datamodule, run_dir, *how)
    return found
