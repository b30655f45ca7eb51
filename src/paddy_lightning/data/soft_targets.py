"""Training batches whose targets are shares of the classes: mixup, cutmix and soft labels.

mixup (Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018) blends a picture with another;
cutmix (Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features, 2019) puts a box of the other into it. Both mix the targets in the same shares.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.random_numbers import uniform

MIX_VIEW = 2000  # a view of its own, far from those of test-time augmentation and of crops
QUANTILES = 4096  # of a Beta distribution; between two of them shares are drawn evenly
SMALLEST_ALPHA = 1e-9  # below, shares are all 0 and 1; scipy 1.16 has none for 1e-300


class SoftBatch(NamedTuple):
    """A training batch with soft targets.

    Attributes:
        image: float32 [B, 3, height, width].
        label: int64 [B], of the pictures as they were before they were mixed.
        index: int64 [B], the row of each picture in its table.
        target: float32 [B, num_classes], the share of each class; rows sum to 1.
    """

    image: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no batch is asked for
    target: Tensor


class SoftTargets:
    """Gives an augmented batch its targets, and mixes pictures and targets alike.

    A picture's partner is the one as far from the batch's end as it is from its start; in the next
    epoch's order that is another. What is drawn depends on (seed, epoch, index) alone.

    Args:
        num_classes: Of the targets.
        mixup: Alpha of the Beta(alpha, alpha) distribution of a partner's share; 0 for none.
        cutmix: Likewise, of the share of the area; with mixup, each picture draws one of the two.
        soft: float32 [rows, num_classes], the targets of all rows of the table; None for labels.
        seed: Of the run.
    """

    def __init__(
        self,
        num_classes: int,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        soft: Tensor | None = None,
        seed: int = 42,
    ) -> None:
        self.num_classes = num_classes
        self.cut_share = 0.0 if not cutmix else 0.5 if mixup else 1.0  # of the pictures
        self.mixes = bool(mixup or cutmix)
        self.quantiles = [beta_quantiles(alpha) for alpha in (cutmix, mixup)]
        self.soft = soft
        self.seed = seed

    @torch.no_grad()
    def __call__(self, batch: Batch, epoch: int) -> SoftBatch:
        """Targets of an augmented batch on its device, and mixed pictures.

        Args:
            batch: With float32 images.
            epoch: Counted from 0.
        """
        image, label, index = batch
        if self.quantiles[0].device != index.device:  # once
            self.quantiles = [of_one.to(index.device) for of_one in self.quantiles]
            self.soft = None if self.soft is None else self.soft.to(index.device)
        if self.soft is None:
            target = F.one_hot(label, self.num_classes).float()
        else:
            target = self.soft[index]
        if self.mixes:
            image, target = self._mixed(image, target, index, epoch)
        return SoftBatch(image, label, index, target)

    def _mixed(
        self, image: Tensor, target: Tensor, index: Tensor, epoch: int
    ) -> tuple[Tensor, Tensor]:
        u = uniform(self.seed, epoch, index, MIX_VIEW, 4)
        is_cut = u[:, 0] < self.cut_share
        cut, blended = (share_at(u[:, 1], of_one) for of_one in self.quantiles)
        box = boxes(cut, u[:, 2:], (image.shape[2], image.shape[3]))
        partner = torch.where(is_cut[:, None, None], box, blended[:, None, None])  # [B, h, w]
        share = torch.where(is_cut, box.mean((1, 2)), blended)
        return (
            torch.lerp(image, image.flip(0), partner[:, None]),
            torch.lerp(target, target.flip(0), share[:, None]),
        )


def beta_quantiles(alpha: float) -> Tensor:
    """Evenly spaced quantiles of Beta(alpha, alpha), float32 [4097], from 0 to 1; 0s for alpha 0.

    A table, since no device can invert the distribution by itself.
    """
    if not alpha:
        return torch.zeros(QUANTILES + 1)
    from scipy.stats import beta  # slow to import, and most runs need none

    places = torch.linspace(0, 1, QUANTILES + 1, dtype=torch.float64)
    alpha = max(alpha, SMALLEST_ALPHA)
    return torch.from_numpy(beta.ppf(places.numpy(), alpha, alpha)).float()


def share_at(u: Tensor, quantiles: Tensor) -> Tensor:
    """The quantile at each of ``u``, float32 [B] in [0, 1), from a table of them."""
    place = u * (len(quantiles) - 1)
    low = place.long()
    return torch.lerp(quantiles[low], quantiles[low + 1], place - low)


def boxes(share: Tensor, place: Tensor, size: tuple[int, int]) -> Tensor:
    """A box a picture, of that share of its area and of its shape, anywhere within it.

    Args:
        share: float32 [B], of the area; the pixels, being whole, have nearly that.
        place: float32 [B, 2] in [0, 1), how far down and how far right.
        size: ``(height, width)`` in pixels.

    Returns:
        float32 [B, height, width], 1 where a pixel's centre is within the box, else 0.
    """
    side = share.sqrt()[:, None]
    down, right = (
        (_pixel_centres(length, share) - at[:, None] * (1 - side) - side / 2).abs() < side / 2
        for length, at in zip(size, place.unbind(1), strict=True)
    )
    return (down[:, :, None] & right[:, None, :]).float()


def _pixel_centres(length: int, like: Tensor) -> Tensor:
    """In a side of length 1."""
    return (torch.arange(length, device=like.device) + 0.5) / length
