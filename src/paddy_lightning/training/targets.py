"""What the loss aims at, from the knobs: soft targets, and what a picture counts for."""

from pathlib import Path

import pandas as pd
import torch

from paddy_lightning.choices import ClassWeights
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.soft_labels import soft_targets
from paddy_lightning.data.soft_targets import SoftTargets


def targets_of(
    config: TrainConfig, table: pd.DataFrame, class_names: list[str]
) -> SoftTargets | None:
    """The soft targets that a config asks for; None where labels do.

    Args:
        config: Every knob.
        table: The pictures, split.
        class_names: In the order of the logits.

    Raises:
        UserError: Soft labels that this run cannot have.
    """
    soft = None
    if config.soft_labels and config.soft_share:
        soft = soft_targets(Path(config.soft_labels), table, class_names, config.soft_share)
    if soft is None and not (config.mixup or config.cutmix):
        return None
    return SoftTargets(len(class_names), config.mixup, config.cutmix, soft, config.seed)


def class_weights(
    how: ClassWeights, table: pd.DataFrame, class_names: list[str]
) -> torch.Tensor | None:
    """float32 [classes]: rare ones weigh more, by the training pictures alone; 1 for the mean one.

    ``balanced`` is scikit-learn's: each class weighs as much as any other.
    """
    if how is ClassWeights.none:
        return None
    train = table.loc[~table["is_valid"], "label"]
    counts = train.value_counts().reindex(class_names, fill_value=0).clip(lower=1).to_numpy(float)
    weights = 1 / counts if how is ClassWeights.balanced else 1 / counts**0.5
    return torch.tensor(weights * len(train) / (weights * counts).sum(), dtype=torch.float32)
