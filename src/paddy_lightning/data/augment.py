"""One augmentation step for a whole batch, on the device: 3x3 matrices -> ONE warp -> colour map.

Every geometric change is a matrix, [B, 3, 3], that takes a point of the output picture to the
point of the input picture it shows. Both pictures span [-1, 1] from edge to edge, whatever their
sizes, so the identity is a plain resize by the half-pixel rule. The product of the matrices is
sampled once: a picture is resampled a single time between the presized file and the network.

The ranges are those of fastai's ``aug_transforms``; the single warp replaces its two.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from paddy_lightning.data.random_numbers import uniform
from paddy_lightning.data.warp import warp
from paddy_lightning.errors import UserError

MAX_ROTATE = 10.0  # degrees
MAX_ZOOM = 1.1
MAX_WARP = 0.2
MAX_LIGHTING = 0.2
P_AFFINE = 0.75
P_LIGHTING = 0.75
CROP_RATIO = 4 / 3  # a crop's aspect changes by 3/4 to 4/3
CROP_TRIES = 10  # a drawn box may not fit; after ten the whole picture is kept


class Augment:
    """From presized uint8 pictures to the float batch the network sees.

    Args:
        size: ``(height, width)`` of the output.
        mean: Of the network's training pictures, one number a channel, in [0, 1] units.
        std: Likewise.
        seed: Of the run.
        min_scale: Smallest share of the area a training crop keeps, in (0, 1].
        extra: A function of float pictures [B, 3, height, width] in [0, 1], run between warp and
            colour map when training; it gets its own seed for every batch.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 42,
        min_scale: float = 0.75,
        extra: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.size = size
        self.mean = torch.tensor(mean)
        self.std = torch.tensor(std)
        self.seed = seed
        self.min_scale = min_scale
        self.extra = extra

    @torch.no_grad()
    def plain(self, images: Tensor) -> Tensor:
        """Resize and normalise, no randomness: what validation sees.

        Args:
            images: uint8 [B, H, W, 3].

        Returns:
            float32 [B, 3, height, width], normalised.
        """
        identity = torch.eye(3, device=images.device).expand(len(images), 3, 3)
        no_change = torch.ones(len(images), device=images.device)
        return self._colour(warp(images, identity, self.size), no_change, no_change - 1)

    @torch.no_grad()
    def random(
        self, images: Tensor, index: Tensor, epoch: int, view: int = 0, first_row: int = 0
    ) -> Tensor:
        """Augment and normalise: what training, and test-time augmentation, sees.

        Args:
            images: uint8 [B, H, W, 3].
            index: int64 [B], the row of each picture in its table.
            epoch: Counted from 0.
            view: 0 in training, 1, 2, ... for the views of test-time augmentation.
            first_row: Tells batches apart, for ``extra``.

        Returns:
            float32 [B, 3, height, width], normalised. A picture's augmentation depends on
            (seed, epoch, index, view) alone.
        """
        height, width = images.shape[1:3]
        needs = [1, 2, 4, 4, 2 * CROP_TRIES + 2, 4]
        draws = uniform(self.seed, epoch, index, view, sum(needs)).split(needs, dim=1)
        to_flip, to_rotate, to_zoom, to_warp, to_crop, to_light = draws
        matrices = (
            flip(to_flip)
            @ rotate(to_rotate, width / height)
            @ zoom(to_zoom)
            @ perspective(to_warp)
            @ crop(to_crop, self.min_scale)
        )
        pictures = warp(images, matrices, self.size, self.min_scale)
        if self.extra is not None:
            pictures = self._with_extra(pictures, batch_seed=first_row + epoch * 2**32 + view)
        return self._colour(pictures, *lighting(to_light))

    def _with_extra(self, pictures: Tensor, batch_seed: int) -> Tensor:
        """Run ``extra`` on [0, 1] pictures with random numbers of its own, the others untouched."""
        assert self.extra is not None
        with torch.random.fork_rng([pictures.device] if pictures.is_cuda else []):
            torch.manual_seed(self.seed + batch_seed)
            return self.extra(pictures / 255) * 255

    def _colour(self, pictures: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
        """Byte -> [0, 1] -> contrast about grey -> brightness -> normalised, as ONE affine map."""
        if self.mean.device != pictures.device:  # once: each copy waits for all that is queued
            self.mean, self.std = self.mean.to(pictures.device), self.std.to(pictures.device)
        factor = contrast[:, None] / (255 * self.std)
        offset = (0.5 * (1 - contrast[:, None]) + brightness[:, None] - self.mean) / self.std
        return torch.addcmul(offset[:, :, None, None], pictures, factor[:, :, None, None])


# The matrices. Each takes uniform numbers in [0, 1), float32 [B, n], and returns [B, 3, 3].


def flip(u: Tensor) -> Tensor:
    """Left for right, in half of the pictures. ``u``: [B, 1]."""
    return _matrix(torch.where(u[:, 0] < 0.5, -1.0, 1.0), 0, 0, 0, 1, 0)


def rotate(u: Tensor, aspect: float) -> Tensor:
    """By up to 10 degrees either way; ``aspect`` (width / height) keeps it rigid. ``u``: [B, 2]."""
    angle = _sometimes(u[:, 0], P_AFFINE, _between(u[:, 1], -MAX_ROTATE, MAX_ROTATE), 0)
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    return _matrix(cos, sin / aspect, 0, -sin * aspect, cos, 0)


def zoom(u: Tensor) -> Tensor:
    """In by 1 to 1.1, towards a point anywhere in the picture. ``u``: [B, 4]."""
    scale = 1 / _sometimes(u[:, 0], P_AFFINE, _between(u[:, 1], 1, MAX_ZOOM), 1)
    slack = 1 - scale
    return _matrix(scale, 0, slack * (2 * u[:, 2] - 1), 0, scale, slack * (2 * u[:, 3] - 1))


def perspective(u: Tensor) -> Tensor:
    """Tilt about either axis: opposite edges grow and shrink by up to a fifth. ``u``: [B, 4].

    In closed form the homography that moves the corners as fastai's ``Warp`` does, one axis after
    the other: (-1, 1) -> (-1, 1 + t) and (1, 1) -> (1, 1 - t).
    """
    tilt_x = _sometimes(u[:, 0], P_AFFINE, _between(u[:, 1], -MAX_WARP, MAX_WARP), 0)
    tilt_y = _sometimes(u[:, 2], P_AFFINE, _between(u[:, 3], -MAX_WARP, MAX_WARP), 0)
    about_x = _matrix(1, 0, tilt_x, 0, 1 - tilt_x**2, 0, tilt_x, 0, 1)
    about_y = _matrix(1 - tilt_y**2, 0, 0, 0, 1, tilt_y, 0, tilt_y, 1)
    return about_x @ about_y


def crop(u: Tensor, min_scale: float) -> Tensor:
    """A box of ``min_scale`` to 1 of the area, aspect changed by 3/4 to 4/3. ``u``: [B, 22].

    As torchvision's and fastai's ``RandomResizedCrop``: of ten drawn boxes the first that fits,
    or else the whole picture; but every picture has a box of its own, and the aspect is counted
    from the picture's, so that training and validation show the same proportions on average.
    """
    area, ratio, place = u.split([CROP_TRIES, CROP_TRIES, 2], dim=1)
    area = _between(area, min_scale, 1)
    stretch = CROP_RATIO ** (ratio - 0.5)
    width, height = area.sqrt() * stretch, area.sqrt() / stretch
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(1, keepdim=True)
    width, height = (
        torch.where(fits.any(1), side.gather(1, first)[:, 0], 1.0) for side in (width, height)
    )
    x, y = (1 - width) * (2 * place[:, 0] - 1), (1 - height) * (2 * place[:, 1] - 1)
    return _matrix(width, 0, x, 0, height, y)


def lighting(u: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast (a factor, .8 to 1.25) and brightness (a shift, -.1 to .1 of white). ``u``: [B, 4].

    Near grey the same as fastai's, which works on logits; affine, it fuses with normalisation.
    """
    log_contrast = _between(u[:, 1], math.log(1 - MAX_LIGHTING), -math.log(1 - MAX_LIGHTING))
    contrast = _sometimes(u[:, 0], P_LIGHTING, log_contrast, 0).exp()
    shift = _between(u[:, 3], -MAX_LIGHTING / 2, MAX_LIGHTING / 2)
    return contrast, _sometimes(u[:, 2], P_LIGHTING, shift, 0)


def _between(u: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * u


def _sometimes(u: Tensor, p: float, value: Tensor, otherwise: float) -> Tensor:
    return torch.where(u < p, value, otherwise)


def _matrix(*entries: Tensor | float) -> Tensor:
    """Six or nine entries, row by row, numbers or float32 [B] -> [B, 3, 3]."""
    if len(entries) == 6:
        entries = (*entries, 0, 0, 1)
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    full = [e if isinstance(e, Tensor) else torch.full_like(like, e) for e in entries]
    return torch.stack(full, dim=1).unflatten(1, (3, 3))


def kornia_augmentations(specs: Sequence[Mapping[str, Any]]) -> Callable[[Tensor], Tensor] | None:
    """Classes of ``kornia.augmentation`` by name, one after the other; None if there are none.

    Args:
        specs: Such as ``[{"RandomErasing": {"p": 0.5}}]``.

    Raises:
        UserError: A name that is no augmentation of pictures, or arguments it does not take.
    """
    if not specs:
        return None
    import kornia.augmentation as K  # noqa: N812  (slow to import, rarely needed)

    steps = []
    for name, arguments in ((name, spec[name]) for spec in specs for name in spec):
        kind = getattr(K, name, None)
        if not (isinstance(kind, type) and issubclass(kind, K.AugmentationBase2D)):
            raise UserError(f"augment: kornia.augmentation has no augmentation {name!r}")
        try:
            steps.append(kind(**(arguments or {})))
        except Exception as error:
            raise UserError(f"augment: {name}({arguments}): {error}") from error
    return K.ImageSequential(*steps)
