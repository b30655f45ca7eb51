"""Lightning's Trainer, as everything that trains has it; and devices, by its names."""

import inspect
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from paddy_lightning import ranks
from paddy_lightning.errors import UserError
from paddy_lightning.quiet import small_talk_left_out

if TYPE_CHECKING:
    import torch
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)
ANY_DEVICE: Mapping[str, Any] = {"devices": 1}
BF16_MIXED = "bf16-mixed"


def lightning_trainer(**arguments: Any) -> "Trainer":
    """Lightning's Trainer, which counts its processes as ``ranks.py`` does.

    Raises:
        UserError: Lightning refuses an argument; or the environment has some, which Lightning
            would take for every Trainer, past all checks.
    """
    from pytorch_lightning import Trainer

    for name in inspect.signature(Trainer).parameters:
        if os.environ.get(variable := f"PL_TRAINER_{name.upper()}"):
            raise UserError(f"{variable}: unset it, and say trainer.{name}= if it is wanted")
    plugins = [*arguments.get("plugins", ()), cluster_environment()]
    with small_talk_left_out(), refusals_are_ours((ValueError, TypeError)):
        return Trainer(**arguments | {"plugins": plugins})


def cluster_environment() -> "ClusterEnvironment":
    """What Lightning calls whoever has started this process; by itself it sees one in any job."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    match ranks.starter():
        case ranks.TORCHRUN:
            return TorchElasticEnvironment()
        case ranks.SRUN:  # a job that is put back into the queue would begin a new run
            return SLURMEnvironment(auto_requeue=False)
        case _:
            return LightningEnvironment()


@contextmanager
def refusals_are_ours(also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Tell Lightning's refusals as ours: such as of a device that is not there.

    Args:
        also: Other errors that are refusals here.

    Raises:
        UserError: With the first line of what Lightning says.
    """
    from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined] # isort: skip

    refusals: tuple[type[Exception], ...] = (MisconfigurationException, *also)
    try:
        yield
    except refusals as error:
        first_line = str(error).strip().split("\n")[0]
        raise UserError(f"trainer, precision: {first_line}") from error


def device_of(accelerator: str = "auto", devices: int | str | Sequence[int] = 1) -> "torch.device":
    """What Lightning calls one device, as torch does.

    Args:
        accelerator: auto, cpu, gpu, cuda or mps.
        devices: 1 for the first, or a list of one number.
    """
    import torch

    if accelerator != "mps" and accelerator != "cpu" and torch.cuda.is_available():
        number = devices[0] if isinstance(devices, (list, tuple)) else 0
        return torch.device("cuda", number)
    on_apple = accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available()
    return torch.device("mps" if on_apple else "cpu")


def usable_precision(precision: str, accelerator: str | None = None, notice: bool = False) -> str:
    """As asked, but 32-true where mixed precision is no gain, or, as on Apple's GPUs, unproven.

    Of CPUs those gain by bf16-mixed that multiply matrices of it (Intel's AMX), if the body is not
    one of depthwise convolutions: a ``resnet26d`` trains nearly twice as fast.
    """
    import torch

    on_gpu = torch.cuda.is_available() and accelerator != "cpu"
    if on_gpu or not precision.endswith("-mixed"):
        return precision
    has_bf16 = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    if has_bf16 and precision == BF16_MIXED:
        return precision
    if notice:
        hint = f"; {BF16_MIXED} may be one" if has_bf16 else ""
        log.info("precision: 32-true (%s is no gain on this machine%s)", precision, hint)
    return "32-true"
