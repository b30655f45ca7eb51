"""``checkpoints/best.ckpt`` and ``last.ckpt``: what a run can be used, and gone on with, from.

Own code where Lightning has ``ModelCheckpoint``, whose memory is bound to the folder's path (a
moved run would forget its best epoch) and whose files pass through /tmp, where a kill leaves them.
"""

import logging
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from paddy_lightning.atomic import written_whole
from paddy_lightning.choices import Keep
from paddy_lightning.errors import UserError
from paddy_lightning.training.averaging import WeightAverage

log = logging.getLogger(__name__)


class Checkpoints(Checkpoint):
    """After every epoch, all that is needed to go on; and the weights of the best one so far.

    Args:
        run_dir: The run folder.
        keep: Which is the best: that of the lowest error rate and, of equals, of the lowest loss;
            the other way round; or the last.
        average: Of the weights, to be kept in their place.
    """

    def __init__(
        self, run_dir: Path, keep: Keep = Keep.last, average: WeightAverage | None = None
    ) -> None:
        self.keep, self.average = keep, average
        self.best = run_dir / "checkpoints" / "best.ckpt"
        self.last = run_dir / "checkpoints" / "last.ckpt"
        self.score = [math.inf, math.inf]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save; the best first, so that what ``last.ckpt`` remembers is there."""
        error, loss = (
            float(trainer.callback_metrics[name]) for name in ("error_rate", "valid_loss")
        )
        score = [float(-trainer.current_epoch), 0.0]
        if self.keep is not Keep.last:
            score = [error, loss] if self.keep is Keep.error else [loss, error]
        if not math.isfinite(loss):  # its errors mean nothing: better than no checkpoint alone
            score = [math.inf, math.inf]
        if score < self.score or self.score[0] == math.inf:
            self.score = score
            with self.average.in_place(pl_module) if self.average else nullcontext():
                trainer.save_checkpoint(self.best, weights_only=True)
        trainer.save_checkpoint(self.last)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; where the best is gone, the next one takes its place."""
        if self.best.exists():
            self.score = state_dict["score"]
        else:
            log.warning("%s: is gone; the next epoch takes its place", self.best)

    def to_go_on_from(self) -> Path | None:
        """The checkpoint that has all of a stopped run; None before its first.

        Raises:
            UserError: It is damaged.
        """
        if not self.last.exists():
            return None
        try:
            torch.load(self.last, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            raise UserError(
                f"{self.last}: is damaged; without it, resume= begins with the first epoch"
            ) from error
        return self.last


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save on the first process; Lightning calls it nowhere else."""
        del storage_options
        with written_whole(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
