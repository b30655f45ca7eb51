"""What a frozen body makes of pictures, and what is learned from that alone, in seconds."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.errors import UserError
from paddy_lightning.network.answers import features_of
from paddy_lightning.network.model import Network
from paddy_lightning.network.param_groups import param_groups
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.training.schedule import lr_and_momentum, one_cycle

# Of the head. On 390 photos of beans and three sets of features, 20 epochs at 2e-3 err as seldom as
# 40 do, and as logistic regression (.179 and .176, the means of five folds), at the lowest loss.
EPOCHS, MAX_LR, BATCH_SIZE = 20, 2e-3, 64
MIN_STEPS = 80  # as these photos have; of fewer there are more epochs
MAX_ITER = 500  # of the regression; those photos need 74


def frozen_features(
    network: Network,
    datamodule: PaddyDataModule,
    precision: str,
    device: Mapping[str, Any],
) -> Tensor:
    """What the head's first layer that learns is given, without augmentation.

    Args:
        network: In whose body nothing changes, statistics included.
        datamodule: Of the pictures.
        precision: As in training.
        device: Lightning's ``accelerator`` and ``devices`` for one of them.

    Returns:
        float32 [N, width], a row a picture, in the order of the table's rows.
    """
    return predict_views(network, datamodule.shown(), precision, device, features_of)[:, 0]


def out_of_fold(features: Tensor, labels: np.ndarray, folds: Sequence[np.ndarray]) -> np.ndarray:
    """What logistic regression on standardised features says of pictures it was not fitted to.

    Args:
        features: float32 [N, width].
        labels: int64 [N].
        folds: The rows of each; together all rows, each once.

    Returns:
        int64 [N], the predicted labels.

    Raises:
        UserError: Features that are not finite; or all of one class without some fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.arange(len(labels))
    splits = [(np.setdiff1d(rows, fold), fold) for fold in folds]
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITER))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of iterations, which only the last digits need
            found: np.ndarray = cross_val_predict(regression, features.numpy(), labels, cv=splits)
    except ValueError as error:
        raise UserError(f"no logistic regression: {str(error).strip().splitlines()[0]}") from error
    return found


def fit_head(
    network: Network, features: Tensor, labels: Tensor, seed: int, weight_decay: float = 0.01
) -> None:
    """Train the head's layers on the features of a frozen body, one cycle with AdamW.

    Args:
        network: Whose head is trained, in place; it is in eval mode afterwards.
        features: float32 [N, width], N of at least 2.
        labels: int64 [N].
        seed: Of the order and dropout; torch's global generator is seeded with it.
        weight_decay: Of AdamW; none on biases and normalisation layers.
    """
    _, layers = network.split_head()
    groups = param_groups(network, weight_decay)
    groups = [group for group in groups if group["name"].startswith("head")]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.95, 0.99), eps=1e-5)
    torch.manual_seed(seed)
    layers.train()
    size = min(BATCH_SIZE, len(features))
    steps = len(features) // size
    epochs = max(EPOCHS, -(-MIN_STEPS // steps))
    phases = one_cycle(epochs, MAX_LR)
    for epoch in range(epochs):
        batches = torch.randperm(len(features)).split(size)[:steps]
        for step, rows in enumerate(batches, epoch * steps):
            (_, lr), momentum = lr_and_momentum(phases, steps, step)
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = lr, (momentum, 0.99)
            loss = F.cross_entropy(layers(features[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
