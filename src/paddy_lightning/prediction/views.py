"""A network over pictures: probabilities of every view, joined as fastai's ``tta`` does."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from paddy_lightning.choices import Tta
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.runs.trainer import ANY_DEVICE, lightning_trainer, usable_precision

TTA_VIEWS = 4  # and the plain one
TTA_BETA = 0.25  # the weight of the plain one


def predict_views(
    module: Classifier,
    datamodule: PaddyDataModule,
    precision: str,
    device: Mapping[str, Any] = ANY_DEVICE,
) -> Tensor:
    """Run the network over ``predict_dataloader``.

    Args:
        module: The network.
        datamodule: Of the pictures.
        precision: As in training.
        device: Lightning's ``accelerator`` and ``devices`` for one of them.

    Returns:
        float32 [N, views, num_classes] on the CPU, in the order of the table's rows; the plain
        view is the last.
    """
    trainer = lightning_trainer(
        **device,
        precision=usable_precision(precision, device.get("accelerator")),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )
    batches: Any = trainer.predict(module, datamodule=datamodule)
    index = torch.cat([rows for rows, _ in batches])
    return torch.cat([views for _, views in batches]).float()[index.argsort()]


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
