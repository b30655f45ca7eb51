"""The LightningModule: loss, metrics, optimizer."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassAccuracy

from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.soft_targets import SoftBatch
from paddy_lightning.network.answers import logits_of
from paddy_lightning.network.param_groups import param_groups
from paddy_lightning.network.weights import have_digits_for

SMOOTHING = 0.98  # of the printed train loss, as in fastai


class Classifier(pl.LightningModule):
    """Trains a network on batches of pictures.

    Rates, momentum and what is frozen are not its business: see ``fine_tune.FineTune``.

    Args:
        model: Has ``body`` and ``head``; pictures -> logits [B, num_classes].
        num_classes: Of the logits.
        weight_decay: Of AdamW; none on biases and normalisation layers.
        layer_decay: Of the rates, from the body's last layer to its first: see ``param_groups``.
        label_smoothing: Share of a label's weight that all classes have alike, [0, 1); in training
            alone, so that validation losses can be compared.
        class_weights: float32 [num_classes], what a picture's loss counts for in training, by its
            class or the shares of its target; None for all alike. The sum is divided by the number
            of pictures.
        facts: Plain values that go into every checkpoint, so that it can be used alone.

    Attributes:
        train_loss: float, the smoothed train loss so far.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.weight_decay, self.layer_decay = weight_decay, layer_decay
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.save_hyperparameters(facts or {}, logger=False)
        # Without checks of their input, which would fetch answers from the device at every step.
        self.accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        self.valid_loss = SumMetric(nan_strategy="disable")  # a MeanMetric has no weights then
        self.num_valid = SumMetric(nan_strategy="disable")
        self._loss_sum, self._loss_weight = torch.zeros(()), 0.0

    def training_step(self, batch: Batch | SoftBatch, batch_idx: int) -> Tensor:
        """Cross-entropy of one augmented batch: against its targets, or else its labels."""
        del batch_idx
        logits = logits_of(self.model, batch.image)
        loss = F.cross_entropy(
            logits,
            batch.target if isinstance(batch, SoftBatch) else batch.label,
            self.class_weights,
            reduction="mean" if self.class_weights is None else "sum",
            label_smoothing=self.label_smoothing,
        )
        if self.class_weights is not None:  # torch's mean is over their sum, which differs by batch
            loss = loss / len(batch.label)
        self._smooth(loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss and error rate over the whole validation set, every picture counted once.

        Returns:
            bool [B], which pictures are right.
        """
        del batch_idx
        logits = logits_of(self.model, batch.image)
        self.accuracy.update(logits, batch.label)
        loss = F.cross_entropy(logits, batch.label)
        self.valid_loss.update(loss * len(batch.label))
        self.num_valid.update(torch.full_like(loss, len(batch.label)))
        return logits.argmax(1) == batch.label

    def on_validation_epoch_start(self) -> None:
        """Sums need their digits, also where bf16-true has taken them with the weights."""
        for metric in (self.valid_loss, self.num_valid):
            metric.set_dtype(torch.float32)

    def on_validation_epoch_end(self) -> None:
        """Log them."""
        self.log("error_rate", 1 - self.accuracy.compute())
        self.log("valid_loss", self.valid_loss.compute() / self.num_valid.compute())
        for metric in (self.accuracy, self.valid_loss, self.num_valid):
            metric.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW as fastai sets it; every rate is overwritten before the first step."""
        groups = param_groups(self.model, self.weight_decay, self.layer_decay)
        # Fused is faster, and 16-mixed then needs no answer from the device at every step; but
        # Lightning cannot clip what the fused one unscales.
        fused = not self.trainer.gradient_clip_val
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.95, 0.99), eps=1e-5, fused=fused)
        optimizer.register_load_state_dict_post_hook(lay_alike)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the smoothed loss for a resumed run."""
        checkpoint["train_loss"] = [float(self._loss_sum), self._loss_weight]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there; the weights are loaded next, before Lightning sets their precision."""
        have_digits_for(self, checkpoint["state_dict"])
        loss_sum, self._loss_weight = checkpoint["train_loss"]
        self._loss_sum = torch.tensor(loss_sum)

    @property
    def train_loss(self) -> float:
        """Mean of the losses so far, recent ones weighing more (beta .98, debiased)."""
        return float(self._loss_sum) / self._loss_weight if self._loss_weight else float("nan")

    def _smooth(self, loss: Tensor) -> None:
        # Stays on the device: reading it here would make every step wait. A loss that is not
        # finite, whose step 16-mixed skips, leaves the mean as it is.
        so_far = self._loss_sum.to(loss.device)
        loss = torch.where(loss.isfinite(), loss, so_far / (self._loss_weight or 1))
        self._loss_sum = SMOOTHING * so_far + (1 - SMOOTHING) * loss
        self._loss_weight = SMOOTHING * self._loss_weight + (1 - SMOOTHING)


def lay_alike(optimizer: torch.optim.Optimizer) -> None:
    """Lay what an optimizer has loaded in memory as its parameters: a fused step mixes it up else.

    One device and several, which is what a run may go on with, differ in that.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
