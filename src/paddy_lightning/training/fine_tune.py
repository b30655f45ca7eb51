"""The callback that puts a schedule's phases into effect, all in one ``fit``.

Everything is worked out anew from the epoch and the step, so a resumed run needs no memory of
what was frozen, at which rate, or which random numbers came next.
"""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from paddy_lightning.choices import Norm
from paddy_lightning.data.random_numbers import uniform
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.param_groups import set_frozen
from paddy_lightning.training.schedule import Phase, lr_and_momentum, phase_at


class FineTune(pl.Callback):
    """Freezes, sets rates and momentum, clears the optimizer at a switch, seeds every step.

    Args:
        phases: The schedule.
        seed: Of the run, for dropout.
        norm: What normalisation layers do in a frozen body.
    """

    def __init__(self, phases: Sequence[Phase], seed: int = 42, norm: Norm = Norm.train) -> None:
        self.phases = phases
        self.seed = seed
        self.norm = norm

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze or unfreeze; a phase begins with an empty optimizer, the head's state included.

        Not before the first epoch: what is frozen when DDP wraps the model is never synchronised.
        """
        assert isinstance(pl_module, Classifier)
        phase, start = phase_at(self.phases, trainer.current_epoch)
        set_frozen(pl_module.model.get_submodule("body"), phase.frozen, self.norm)
        if trainer.current_epoch == start:
            for optimizer in trainer.optimizers:
                optimizer.state.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the step's rates and momentum, and the random numbers of its dropout."""
        del pl_module, batch
        accumulate = trainer.accumulate_grad_batches
        steps_per_epoch = -(-int(trainer.num_training_batches) // accumulate)
        step = trainer.current_epoch * steps_per_epoch + batch_idx // accumulate
        (body, head), momentum = lr_and_momentum(self.phases, steps_per_epoch, step)
        for group in trainer.optimizers[0].param_groups:
            peak = body if group["name"].startswith("body") else head
            group["lr"] = peak * group.get("share", 1.0)  # none in checkpoints of earlier days
            group["betas"] = (momentum, group["betas"][1])
        batches_before = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx
        torch.manual_seed(step_seed(self.seed, trainer.global_rank, batches_before))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of several ranks, validate with the batch statistics of the first, which are kept."""
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make sure that several ranks have trained the same weights.

        Raises:
            RuntimeError: They have drifted apart.
        """
        if trainer.world_size > 1:
            ours = torch.stack([p.detach().double().sum() for p in pl_module.parameters()])
            first = ours.clone()
            torch.distributed.broadcast(first, 0)
            if not torch.equal(ours, first):
                raise RuntimeError(f"rank {trainer.global_rank} has other weights than the first")


def step_seed(seed: int, rank: int, step: int) -> int:
    """A seed for torch's generators that no other (seed, rank, step) shares but by chance."""
    draws = uniform(seed, rank, torch.tensor([step]), 0, 2)[0]
    high, low = (int(draw * 2**24) for draw in draws.tolist())
    return high << 24 | low
