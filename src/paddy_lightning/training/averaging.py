"""An average of the weights over the steps: what is validated and kept, while the others train on.

Not Lightning's ``EMAWeightAveraging``: of a checkpoint that is saved with ``weights_only=True`` it
leaves the averages out, its decay has no warm-up, and it does not begin anew with a phase.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from paddy_lightning.network.classifier import Classifier
from paddy_lightning.training.schedule import Phase, phase_at

MOST = 0.999  # of the decay
WARM_UP = 2 / 3  # its power, as timm's ModelEmaV3 has it


def decay(step: int) -> float:
    """What the average keeps of itself at a step, counted from 1: .37 at first, .97 after 200."""
    return min(MOST, 1 - (1 + step) ** -WARM_UP)


class WeightAverage(pl.Callback):
    """Averages weights and the statistics of normalisation layers, in float32 or better.

    Args:
        phases: The schedule; with each phase the average begins anew, or it would lag behind the
            jump of the rates.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        self.phases = phases
        self.average: dict[str, Tensor] = {}
        self.steps = 0  # of the phase
        self.seen = 0  # of all

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew with a phase."""
        _, start = phase_at(self.phases, trainer.current_epoch)
        if trainer.current_epoch == start:
            self.average, self.steps = {}, 0
        if not self.average:
            self.average = {name: _precise(t).clone() for name, t in _weights(pl_module).items()}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take in the weights of a step; of batches that are accumulated, after the last."""
        del outputs, batch, batch_idx
        if trainer.global_step == self.seen:
            return
        self.seen, self.steps = trainer.global_step, self.steps + 1
        weights = _weights(pl_module)
        new = [_precise(weights[name]) for name in self.average]
        torch._foreach_lerp_([*self.average.values()], new, 1 - decay(self.steps))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        self._own = self._put_in(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train on."""
        _copy(pl_module, self._own)

    @contextmanager
    def in_place(self, module: pl.LightningModule) -> Iterator[None]:
        """The average as the module's weights, as for a checkpoint of them."""
        own = self._put_in(module)
        try:
            yield
        finally:
            _copy(module, own)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"average": self.average, "steps": self.steps, "seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.steps, self.seen = state_dict["steps"], state_dict["seen"]
        self.average = state_dict["average"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """What was loaded goes to the device."""
        del trainer, stage
        self.average = {name: t.to(pl_module.device) for name, t in self.average.items()}

    def _put_in(self, module: pl.LightningModule) -> dict[str, Tensor]:
        own = {name: tensor.clone() for name, tensor in _weights(module).items()}
        _copy(module, self.average)
        return own


def _weights(module: pl.LightningModule) -> dict[str, Tensor]:
    """Parameters and statistics, as they are; counts of batches are not averaged."""
    assert isinstance(module, Classifier)
    model: nn.Module = module.model
    return {name: t.detach() for name, t in model.state_dict().items() if t.is_floating_point()}


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _copy(module: pl.LightningModule, tensors: dict[str, Tensor]) -> None:
    weights = _weights(module)
    for name, tensor in tensors.items():
        weights[name].copy_(tensor)
