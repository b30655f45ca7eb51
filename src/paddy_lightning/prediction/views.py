"""A network over pictures, batch after batch: probabilities of every view."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from paddy_lightning.data.pictures import UNREAD
from paddy_lightning.data.shown import UNPROVEN, Shown
from paddy_lightning.network.answers import probabilities_of
from paddy_lightning.runs.trainer import ANY_DEVICE, device_of, usable_precision

log = logging.getLogger(__name__)
DTYPES = {"16": torch.float16, "bf16": torch.bfloat16, "32": torch.float32, "64": torch.float64}
Answer = Callable[[Any, Tensor], Tensor]  # network, float [B, 3, height, width] -> [B, n]


def predict_views(
    network: nn.Module,
    shown: Shown,
    precision: str,
    device: Mapping[str, Any] = ANY_DEVICE,
    answer: Answer = probabilities_of,
) -> Tensor:
    """``views_by_batch``, all of them: float32 [N, views, num_classes], a row a picture."""
    return torch.cat(list(views_by_batch(network, shown, precision, device, answer)))


@torch.inference_mode()
def views_by_batch(
    network: nn.Module,
    shown: Shown,
    precision: str,
    device: Mapping[str, Any] = ANY_DEVICE,
    answer: Answer = probabilities_of,
) -> Iterator[Tensor]:
    """Run a network over pictures, on one device; it comes back to the CPU afterwards.

    Args:
        network: Pictures -> logits.
        shown: The pictures.
        precision: As in training.
        device: Lightning's ``accelerator`` and ``devices`` for one of them.
        answer: What is asked of it.

    Yields:
        float32 [B, views, num_classes] on the CPU, the plain view last; NaN for files that could
        not be read.
    """
    on = device_of(**device)
    if on.type == UNPROVEN:
        log.info("augmentation: on the CPU, as it was never tried on Apple's GPUs")
    digits, _, kind = usable_precision(precision, device.get("accelerator")).partition("-")
    mixed, dtype = kind == "mixed", DTYPES[digits]
    network.eval().to(on, None if mixed or digits == "32" else dtype)
    with tqdm(total=len(shown.rows), unit=" pictures", disable=not sys.stderr.isatty()) as bar:
        for batch in shown.loader(on):
            views = shown.views(batch, on)
            with (
                torch.autocast(on.type, dtype, cache_enabled=False)
                if mixed
                else default_dtype(dtype)
            ):
                found = answer(network, views.flatten(0, 1)).unflatten(0, views.shape[:2])
            unread = (batch.label == UNREAD)[:, None, None]
            yield found.cpu().float().masked_fill(unread, torch.nan)
            bar.update(len(batch.label))
    network.cpu()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """What a network makes by itself is of that kind, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
