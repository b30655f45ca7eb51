"""train(config) -> summary: the one place that reads the config and builds the objects."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, assert_never

import pandas as pd
import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from paddy_lightning.atomic import remove_leftovers, write_json, written_whole
from paddy_lightning.check import check, lightning_trainer
from paddy_lightning.checkpoints import Checkpoints, WholeFiles
from paddy_lightning.classifier import Classifier
from paddy_lightning.config import FIND, BadImages, Schedule, TrainConfig, Tta, plain
from paddy_lightning.datamodule import PaddyDataModule, default_num_workers
from paddy_lightning.errors import UserError
from paddy_lightning.figures import save_figures
from paddy_lightning.fine_tune import FineTune
from paddy_lightning.interpret import write_interpretation
from paddy_lightning.model import Network, build_model, resolve_arch, set_frozen
from paddy_lightning.predict import (
    TTA_VIEWS,
    augment_of,
    join_views,
    load_checkpoint,
    predict_views,
    predictions_table,
    presize_of,
    usable_precision,
)
from paddy_lightning.quiet import leave_out_small_talk
from paddy_lightning.run_folder import (
    Summary,
    command,
    locked,
    new_run_folder,
    read_config,
    read_summary,
    save_config,
    summarised,
    versions,
)
from paddy_lightning.run_log import RunLog
from paddy_lightning.schedule import Phase, fine_tune, one_cycle
from paddy_lightning.split import split_table
from paddy_lightning.survey import find_broken
from paddy_lightning.table import DataSet, csv_table, describe, open_data, write_table

log = logging.getLogger(__name__)
NAMED = 3  # broken pictures in an error message
C = TypeVar("C", bound=Classifier)


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
        return resume(config.resume, config.num_workers, config.trainer)
    leave_out_small_talk()
    check(config)
    run_dir = new_run_folder(run_dir)
    data = open_data(config.data)
    log.info(describe(data))
    table = split_readable(config, data)
    if config.lr == FIND:
        config = replace(config, lr=_find_lr(config, run_dir, data, table)["valley"])
        log.info("lr=find: %.2e, the valley", config.lr)
    return _run(config, run_dir, data, table)


def resume(
    run_dir: str | Path,
    num_workers: int | None = None,
    trainer: dict[str, Any] | None = None,
) -> Summary:
    """Go on with a run that was stopped, in its own folder, from its last whole epoch.

    Same numbers as if it had never been stopped: bit for bit on a CPU.

    Args:
        run_dir: The run folder.
        num_workers: In place of the run's own.
        trainer: Further arguments of Lightning's Trainer.

    Returns:
        As ``train``.

    Raises:
        UserError: No run there, it is done, it goes on elsewhere, or its pictures are gone.
    """
    leave_out_small_talk()
    run_dir = Path(run_dir)
    config = read_config(run_dir)
    earlier = read_summary(run_dir)
    if earlier.get("status") == "done":
        raise UserError(f"{run_dir}: is done; there is nothing to go on with")
    config.trainer |= trainer or {}
    config.num_workers = config.num_workers if num_workers is None else num_workers
    check(config)
    data = open_data(config.data)
    log.info(describe(data))
    return _run(config, run_dir, data, csv_table(run_dir / "pictures.csv"), earlier)


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
    leave_out_small_talk()
    check(config)
    data = open_data(config.data)
    log.info(describe(data))
    return _find_lr(config, new_run_folder(run_dir), data, split_readable(config, data))


def _find_lr(
    config: TrainConfig, run_dir: Path, data: DataSet, table: pd.DataFrame
) -> dict[str, float]:
    from paddy_lightning import lr_find  # brings matplotlib: few need it

    module, datamodule = build(config, data, table, lr_find.Searched)
    set_frozen(module.model.get_submodule("body"), config.freeze_epochs > 0)
    curve = lr_find.search(module, datamodule, usable_precision(config.precision))
    rates = lr_find.suggestions(curve)
    write_table(run_dir / "lr_find.csv", curve)
    save_figures(run_dir, {"lr_find": lr_find.plot(curve, rates)})
    log.info("lr_find: %s", "  ".join(f"{name} {lr:.2e}" for name, lr in rates.items()))
    return rates


def _run(
    config: TrainConfig,
    run_dir: Path,
    data: DataSet,
    table: pd.DataFrame,
    earlier: Summary | None = None,
) -> Summary:
    """Build, fit, evaluate; goes on from ``last.ckpt`` where there is one.

    Args:
        config: Every knob.
        run_dir: The run folder.
        data: Where the pictures are.
        table: The pictures, split.
        earlier: The summary of a run to go on with; None for a new one.
    """
    checkpoints = Checkpoints(run_dir)
    last = checkpoints.last if checkpoints.last.exists() else None
    module, datamodule = build(config, data, table, Classifier, from_last=last is not None)
    facts: Any = module.hparams
    run_log = RunLog(run_dir, facts["mean"], facts["std"])
    callbacks = [FineTune(phases_of(config), config.seed), run_log, checkpoints]
    trainer = make_trainer(config, run_dir, len(datamodule.train_rows), callbacks)

    if earlier is None:
        write_table(run_dir / "pictures.csv", table)
        save_config(run_dir, config)
    summary = first_summary(config, run_dir, facts, table)
    summary["seconds"] = (earlier or {}).get("seconds", 0)
    with locked(run_dir), summarised(run_dir, summary):
        remove_leftovers(run_dir)
        trainer.fit(module, datamodule=datamodule, ckpt_path=last, weights_only=True)
        best = torch.load(checkpoints.best, weights_only=True)
        module.load_state_dict(best["state_dict"])
        views = predict_views(module, datamodule, config.precision)
        valid = table[table["is_valid"]]
        summary |= evaluate(valid, views, facts["class_names"], config.tta, run_dir)
        summary["best_epoch"] = best["epoch"] + 1
        summary["last_error_rate"] = run_log.epochs[-1]["error_rate"]
        summary["images_per_second"] = max(row["images_per_second"] for row in run_log.epochs)
        write_json(run_dir / "summary.json", summary)
        summary |= write_interpretation(run_dir).summary
        log_hyperparameters(trainer, config, summary)
    checkpoints.last.unlink()
    log.info("%s", closing_line(summary))
    return summary


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
    """
    class_names = sorted(table["label"].unique())
    pl.seed_everything(config.seed, verbose=False)
    weights = "none" if from_last or config.start else config.weights
    model = build_model(config.arch, len(class_names), weights, config.size)
    facts = checkpoint_facts(config, data, class_names, model)
    module = kind(model, len(class_names), facts=facts)
    if config.start and not from_last:
        start_from(module, config.start)
    datamodule = PaddyDataModule(
        data.root,
        table,
        class_names,
        presize_of(facts),
        augment_of(facts),
        config.batch_size,
        default_num_workers(config.num_workers),
        config.seed,
        tta=TTA_VIEWS if config.tta else 0,
    )
    return module, datamodule


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
            return fine_tune(config.epochs, config.lr, config.freeze_epochs)
        case Schedule.one_cycle:
            return one_cycle(config.epochs, config.lr, config.freeze_epochs, config.unfrozen_lr)
        case _:
            assert_never(config.schedule)


def split_readable(config: TrainConfig, data: DataSet) -> pd.DataFrame:
    """The pictures that can be read, with the column ``is_valid``.

    Raises:
        UserError: Some cannot, unless they are to be skipped; or the split is not possible.
    """
    table = data.train
    broken = find_broken(data.root, table["file"], default_num_workers(config.num_workers))
    if not broken.empty and config.bad_images is BadImages.refuse:
        named = "; ".join(broken.iloc[:NAMED]) + ("; ..." if len(broken) > NAMED else "")
        raise UserError(
            f"{len(broken)} pictures are broken; mend them or set bad_images=skip: {named}"
        )
    if not broken.empty:
        log.warning("%d broken pictures are skipped:", len(broken))
        for problem in broken:
            log.warning("  %s", problem)
        table = table.drop(index=broken.index).reset_index(drop=True)
        if table["label"].nunique() < 2:
            raise UserError(f"{data.root}: fewer than two classes are left without them")
    how = (config.split, config.split_seed, config.fold, config.folds, config.group)
    return split_table(table, data.root, *how)


def checkpoint_facts(
    config: TrainConfig, data: DataSet, class_names: list[str], model: Network
) -> dict[str, Any]:
    """All that predicting needs besides the weights, as plain values."""
    knobs = plain(config)
    return {
        "arch": resolve_arch(config.arch)[0],
        "class_names": class_names,
        "mean": model.mean,
        "std": model.std,
        "data": plain(data.config),
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
    arguments = {
        "log_every_n_steps": max(1, min(50, steps // 4)),
        "devices": 1,
        "enable_progress_bar": sys.stderr.isatty(),
        "enable_model_summary": False,
        **config.trainer,
        "max_epochs": config.epochs + config.freeze_epochs,
        "precision": usable_precision(config.precision, notice=True),
        "logger": TensorBoardLogger(run_dir, name="", version=""),
        "callbacks": [*callbacks, LearningRateMonitor("step", log_momentum=True)],
        "plugins": [WholeFiles()],
    }
    return lightning_trainer(**arguments)


def evaluate(
    table: pd.DataFrame, views: Tensor, class_names: list[str], tta: bool, run_dir: Path
) -> Summary:
    """Error and loss on the validation pictures, and ``valid_predictions.csv``.

    Args:
        table: The validation rows.
        views: float32 [N, views, num_classes], probabilities of these rows, the plain view last.
        class_names: In the order of the probabilities.
        tta: Whether there are augmented views to join.
        run_dir: The run folder.
    """
    truth = torch.tensor(pd.Categorical(table["label"], class_names).codes.astype("int64"))
    plain_view = join_views(views, Tta.off)
    losses = F.nll_loss(plain_view.clamp_min(1e-38).log(), truth, reduction="none")
    frame = predictions_table(table["file"], plain_view, class_names)
    frame = frame.rename(columns={"label": "predicted"})
    frame.insert(1, "label", table["label"].to_numpy())
    frame.insert(4, "loss", losses.numpy())
    with written_whole(run_dir / "valid_predictions.csv") as temporary:
        frame.to_csv(temporary, index=False)

    def error_rate(way: Tta) -> float:
        return float((join_views(views, way).argmax(1) != truth).float().mean())

    return {
        "error_rate": error_rate(Tta.off),
        "valid_loss": float(losses.mean()),
        "tta_error_rate": error_rate(Tta.mean) if tta else None,
    }


def first_summary(
    config: TrainConfig, run_dir: Path, facts: dict[str, Any], table: pd.DataFrame
) -> Summary:
    """What is known of a run before it trains."""
    num_valid = int(table["is_valid"].sum())
    return {
        "status": "running",
        "run_dir": str(run_dir),
        "error_rate": None,
        "valid_loss": None,
        "tta_error_rate": None,
        "epochs": config.epochs + config.freeze_epochs,
        "images_per_second": None,
        "num_train": len(table) - num_valid,
        "num_valid": num_valid,
        "arch": facts["arch"],
        "lr": config.lr,
        "seed": config.seed,
        "versions": versions(),
        "command": command(),
    }


def log_hyperparameters(trainer: pl.Trainer, config: TrainConfig, summary: Summary) -> None:
    """The flat knobs and the final metrics, for TensorBoard's comparison of runs."""
    knobs = {k: v for k, v in plain(config).items() if isinstance(v, (str, int, float))}
    knobs |= {name: "x".join(map(str, plain(config)[name])) for name in ("presize", "size")}
    names = ("error_rate", "valid_loss", "tta_error_rate", "macro_f1", "seconds")
    metrics = {name: summary[name] for name in names}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            found = {f"final/{k}": v for k, v in metrics.items() if v is not None}
            logger.log_hyperparams(knobs, found, step=trainer.global_step)
            logger.finalize("success")
            Path(logger.log_dir, logger.NAME_HPARAMS_FILE).unlink(missing_ok=True)  # an empty one


def closing_line(summary: Summary) -> str:
    """The run in a line: errors, time and where everything lies."""
    tta = summary["tta_error_rate"]
    with_tta = "" if tta is None else f", with TTA {tta:.4f}"
    return (
        f"done in {summary['seconds']:.0f} s: error rate {summary['error_rate']:.4f}{with_tta},"
        f" valid_loss {summary['valid_loss']:.4f} (epoch {summary['best_epoch']});"
        f" everything is in {summary['run_dir']}"
    )
