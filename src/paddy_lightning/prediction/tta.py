"""Test-time augmentation: the views of a picture, joined as fastai's ``tta`` does."""

import numpy as np

from paddy_lightning.choices import Tta

TTA_VIEWS = 4  # and the plain one
TTA_BETA = 0.25  # the weight of the plain one


def join_views(views: np.ndarray, tta: Tta, beta: float = TTA_BETA) -> np.ndarray:
    """One set of probabilities a picture.

    Args:
        views: float [N, views, num_classes], the plain view last.
        tta: off: the plain view alone; mean: ``(1 - beta) * mean(augmented) + beta * plain``;
            max: the largest over all views, whose rows no longer sum to 1.
        beta: Weight of the plain view.

    Returns:
        float [N, num_classes].
    """
    plain: np.ndarray = views[:, -1]
    match tta:
        case Tta.off:
            return plain
        case Tta.mean:
            augmented = views[:, :-1].mean(1)
            joined: np.ndarray = augmented + beta * (plain - augmented)
            return joined
        case Tta.max:
            return np.asarray(views.max(1))
