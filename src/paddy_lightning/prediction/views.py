"""A network over pictures: probabilities of every view, joined as fastai's ``tta`` does."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from paddy_lightning.choices import Tta
from paddy_lightning.data.pictures import UNREAD
from paddy_lightning.data.shown import UNPROVEN, Shown
from paddy_lightning.network.answers import probabilities_of
from paddy_lightning.runs.trainer import ANY_DEVICE, device_of, usable_precision

log = logging.getLogger(__name__)
TTA_VIEWS = 4  # and the plain one
TTA_BETA = 0.25  # the weight of the plain one
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


def join_views(views: Tensor, tta: Tta, beta: float = TTA_BETA) -> Tensor:
    """One set of probabilities a picture; fastai's ``tta``.

    Args:
        views: float [N, views, num_classes], the plain view last.
        tta: off: the plain view alone; mean: ``(1 - beta) * mean(augmented) + beta * plain``;
            max: the largest over all views, whose rows no longer sum to 1.
        beta: Weight of the plain view.

    Returns:
        float [N, num_classes].
    """
    match tta:
        case Tta.off:
            return views[:, -1]
        case Tta.mean:
            return torch.lerp(views[:, :-1].mean(1), views[:, -1], beta)
        case Tta.max:
            return views.amax(1)


def predictions_table(
    files: pd.Series, probabilities: Tensor, class_names: list[str]
) -> pd.DataFrame:
    """The columns ``file, label, confidence`` and one a class; no label without probabilities."""
    confidence, best = probabilities.max(1)
    head = {
        "file": files.to_numpy(),
        "label": np.where(confidence.isnan(), "", np.array(class_names)[best.numpy()]),
        "confidence": confidence.numpy(),
    }
    columns = pd.DataFrame(probabilities.numpy(), columns=class_names)
    return pd.concat([pd.DataFrame(head), columns], axis=1)


def best_of(probabilities: Tensor) -> list[int]:
    """The number of the likeliest class of each row; -1 without probabilities."""
    confidence, best = probabilities.max(1)
    numbers: list[int] = best.masked_fill(confidence.isnan(), -1).tolist()
    return numbers
