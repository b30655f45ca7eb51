"""The callback that writes down what a run does: a line an epoch, metrics.csv, TensorBoard."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from paddy_lightning.atomic import written_whole
from paddy_lightning.data.pictures import Batch
from paddy_lightning.errors import DivergedError
from paddy_lightning.insight.png import write_png
from paddy_lightning.insight.show import mosaic
from paddy_lightning.lettering import printable
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.runs.summary import Summary

log = logging.getLogger(__name__)
MOSAIC_PICTURES = 32
READ_EVERY = 50  # steps; reading a loss makes the device wait


class RunLog(pl.Callback):
    """One line an epoch to the log and to ``metrics.csv``; speed and a mosaic to TensorBoard.

    Args:
        run_dir: The run folder.
        mean: Of the normalisation, to undo it for the mosaic.
        std: Likewise.

    Attributes:
        epochs: A row an epoch: epoch (from 1), train_loss, valid_loss, error_rate, seconds,
            images_per_second (of the training part).
    """

    def __init__(self, run_dir: Path, mean: list[float], std: list[float]) -> None:
        self.run_dir = run_dir
        self.mean, self.std = mean, std
        self.epochs: list[dict[str, float]] = []
        self._images = 0
        self._start = self._trained = 0.0
        self._of_step: list[Tensor] = []  # the losses of its batches so far
        self._losses: list[tuple[int, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.epochs = state_dict["epochs"]

    def told(self) -> dict[str, float]:
        """Of all epochs: the last and the lowest error rate, and the highest speed."""
        errors = [row["error_rate"] for row in self.epochs]
        speed = max(row["images_per_second"] for row in self.epochs)
        return {
            "last_error_rate": errors[-1],
            "lowest_error_rate": min(errors),
            "images_per_second": speed,
        }

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self._images = 0
        self._start = self._trained = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Show the first batch of the run as the network sees it."""
        del pl_module
        self._images += len(batch.label)
        if trainer.current_epoch == 0 and batch_idx == 0 and trainer.is_global_zero:
            sheet = mosaic(batch.image[:MOSAIC_PICTURES], self.mean, self.std)
            pixels = sheet.permute(1, 2, 0).numpy()
            boards = (one for one in trainer.loggers if isinstance(one, TensorBoardLogger))
            writer = next((board.experiment for board in boards), None)
            write_png(self.run_dir / "figures" / "augmented_batch.png", pixels, writer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Keep the mean loss of a step's batches where it is, and read many together."""
        del pl_module, batch
        accumulate = trainer.accumulate_grad_batches
        self._of_step.append(outputs["loss"] * accumulate)  # which Lightning has divided by it
        if trainer.is_last_batch or (batch_idx + 1) % accumulate == 0:
            self._losses.append((trainer.global_step, torch.stack(self._of_step).mean()))
            self._of_step = []
        if len(self._losses) == READ_EVERY:
            self._read_losses(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Training of the epoch is over."""
        del trainer, pl_module
        self._trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch down."""
        assert isinstance(pl_module, Classifier)
        self._read_losses(trainer)
        metrics: dict[str, Any] = dict(trainer.callback_metrics)
        row = {
            "epoch": trainer.current_epoch + 1,
            "train_loss": pl_module.train_loss,
            "valid_loss": float(metrics["valid_loss"]),
            "error_rate": float(metrics["error_rate"]),
            "seconds": time.perf_counter() - self._start,
            "images_per_second": self._images * trainer.world_size / (self._trained - self._start),
        }
        pl_module.log("images_per_second", row["images_per_second"])
        self.epochs.append(row)
        if trainer.is_global_zero:
            log.info(
                "epoch %d/%d  train_loss %.4f  valid_loss %.4f  error_rate %.4f  %d:%02d",
                *(row["epoch"], trainer.max_epochs),
                *(row["train_loss"], row["valid_loss"], row["error_rate"]),
                *divmod(round(row["seconds"]), 60),
            )
            with written_whole(self.run_dir / "metrics.csv") as temporary:
                pd.DataFrame(self.epochs).to_csv(temporary, index=False)

    def _read_losses(self, trainer: pl.Trainer) -> None:
        """Every step's loss to TensorBoard, in one transfer from the device.

        Raises:
            DivergedError: One is no number any more; nothing of this epoch is saved.
        """
        if not self._losses:
            return
        steps, losses = zip(*self._losses, strict=True)
        self._losses.clear()
        read = list(zip(steps, torch.stack(losses).tolist(), strict=True))
        for step, loss in read:
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_scalar("train_loss", loss, step)
        lost = [(step, loss) for step, loss in read if not math.isfinite(loss)]
        if lost and was_skipped(trainer):
            log.info("16-mixed skipped %d steps, whose loss was not finite", len(lost))
        elif lost:
            raise DivergedError(self._what_diverged(trainer, *lost[0]))

    def _what_diverged(self, trainer: pl.Trainer, step: int, loss: float) -> str:
        digits = "" if trainer.precision == "32-true" else ", or with precision=32-true,"
        told = f" (start={self.run_dir} takes what it kept along)"
        best = told if self.epochs and trainer.is_global_zero else ""
        return (
            f"the loss is {loss} at step {step} (epoch {trainer.current_epoch + 1}): a new run"
            f" with a lower lr={digits} may help{best}; a resume would come to the same"
        )


class RateLog(pl.Callback):
    """The rates and momenta of every so-many-th step to TensorBoard, by group of parameters.

    Lightning's ``LearningRateMonitor`` also copies each to the device, and waits for that.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write those that ``FineTune`` has set for this step."""
        del pl_module, batch, batch_idx
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set unseen
        if not every or (trainer.global_step + 1) % every:
            return
        optimizer = trainer.optimizers[0]
        told: dict[str, float] = {}
        for group in optimizer.param_groups:
            name = f"lr-{type(optimizer).__name__}/{group['name']}"
            told |= {name: group["lr"], f"{name}-momentum": group["betas"][0]}
        for logger in trainer.loggers:
            logger.log_metrics(told, trainer.global_step)


def was_skipped(trainer: pl.Trainer) -> bool:
    """Whether steps without a finite loss have left no trace: under 16-mixed, as a rule.

    Its scaler makes no step where a gradient is not finite; but the means of a normalisation
    layer may be lost before that.
    """
    if getattr(trainer.precision_plugin, "scaler", None) is None:
        return False
    state = trainer.lightning_module.state_dict().values()
    return all(bool(tensor.isfinite().all()) for tensor in state)


def log_hyperparameters(trainer: pl.Trainer, knobs: dict[str, Any], summary: Summary) -> None:
    """The flat knobs and the final metrics, for TensorBoard's comparison of runs."""
    flat = {k: v for k, v in knobs.items() if isinstance(v, (str, int, float))}
    flat = {k: printable(v) if isinstance(v, str) else v for k, v in flat.items()}
    flat |= {name: "x".join(map(str, knobs[name])) for name in ("presize", "size")}
    names = (
        *("error_rate", "error_low", "error_high", "tta_error_rate", "valid_loss", "macro_f1"),
        *("seconds", "images_per_second", "num_parameters"),
    )
    metrics = {name: summary[name] for name in names}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            found = {f"final/{k}": v for k, v in metrics.items() if v is not None}
            logger.log_hyperparams(flat, found, step=trainer.global_step)
            logger.finalize("success")
            Path(logger.log_dir, logger.NAME_HPARAMS_FILE).unlink(missing_ok=True)  # an empty one
