"""A trained network, all that comes before it and all that comes after, as one graph."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from paddy_lightning.choices import Size
from paddy_lightning.data.warp import warp
from paddy_lightning.network.model import Network

TINY = 1e-12  # for a map that is nowhere above 0


class Graph(nn.Module):
    """Presized pictures -> probabilities, and where the network looked for its best class.

    Args:
        network: In eval mode, float32.
        presize: ``(height, width)`` of the pictures.
        size: ``(height, width)`` that the network sees.
        mean: Of what it sees, one number a channel, in [0, 1] units.
        std: Likewise.
        temperature: By which logits are divided before they become probabilities.
        tta: Whether to take the mean of a picture's probabilities and its mirror image's.
    """

    def __init__(
        self,
        network: Network,
        presize: Size,
        size: Size,
        mean: Sequence[float],
        std: Sequence[float],
        temperature: float = 1.0,
        tta: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.width, self.temperature = network, presize[1], temperature
        self.tta = tta
        self.rows: Tensor
        self.columns: Tensor
        self.factor: Tensor
        self.offset: Tensor
        self.register_buffer("rows", resize_matrix(presize[0], size[0]))
        self.register_buffer("columns", resize_matrix(presize[1], size[1]).T.contiguous())
        self.register_buffer("factor", (1 / (255 * torch.tensor(std)))[:, None, None])
        self.register_buffer("offset", (-torch.tensor(mean) / torch.tensor(std))[:, None, None])

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """uint8 [B, height, width, 3] -> float32 [B, num_classes] and float32 [B, h, w], 0 to 1.

        The latter not of bodies that pool themselves, which hand over no map.
        """
        seen = self.seen(pictures)
        if not self.tta:
            return self._answer(seen)
        # Together: weights that are there twice onnxscript 0.5 would multiply twice.
        both = self._answer(torch.cat([seen, seen.flip(3)]))
        shares, *where = (one.unflatten(0, (2, -1)) for one in both)
        return shares.mean(0), *(maps[0] for maps in where)

    def _answer(self, seen: Tensor) -> tuple[Tensor, ...]:
        network = self.network
        if network.pools_itself:
            return (self._shares(network(seen)),)
        features = network.maps(seen)
        logits, weights = judge(network, features)
        return self._shares(logits), activation(features, weights)

    def seen(self, pictures: Tensor) -> Tensor:
        """What ``Augment.plain`` makes of them, by the same weights: float32 [B, 3, h, w].

        The warp by the identity treats rows and columns apart: it is a product with two matrices,
        which any runtime has.
        """
        lower = torch.matmul(self.rows, pictures.float().flatten(2))  # [B, h, width * 3]
        lower = lower.unflatten(2, (self.width, 3)).permute(0, 3, 1, 2)
        return torch.matmul(lower, self.columns) * self.factor + self.offset

    def _shares(self, logits: Tensor) -> Tensor:
        return F.softmax(logits / self.temperature, dim=1)


def resize_matrix(source: int, size: int) -> Tensor:
    """What the warp by the identity does along one side: float32 [size, source].

    Read off it, by a picture one pixel wide that has a channel for each pixel of its height.
    """
    pixels = torch.eye(source)[None, :, None]  # [1, source, 1, source]
    return warp(pixels, torch.eye(3)[None], (size, 1))[0, :, :, 0].T.contiguous()


def judge(network: Network, features: Tensor) -> tuple[Tensor, Tensor]:
    """The head, and its gradient, which in eval mode has a closed form.

    Args:
        network: In eval mode.
        features: float32 [B, C, h, w], the body's last map.

    Returns:
        Logits, float32 [B, num_classes]; and what each channel counts for the best class, float32
        [B, C]: the sum of its gradient over the map. Average pooling shares a channel's gradient
        out over all places, maximum pooling gives it to one; their sums go into one.
    """
    parts: Any = network.split_head()[1]
    first_norm, _, first, relu, last_norm, _, last = parts
    # What the head's pooling does; by its own layer, torch 2.10 exports it not.
    pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
    hidden = first(first_norm(pooled))
    logits = last(last_norm(relu(hidden)))
    back = last.weight.index_select(0, logits.argmax(1)) * slope(last_norm)  # [B, HEAD_WIDTH]
    back = torch.matmul(back * (hidden > 0).float(), first.weight) * slope(first_norm)
    of_average, of_maximum = back.chunk(2, dim=1)
    return logits, of_average + of_maximum


def slope(norm: nn.Module) -> Tensor:
    """What a BatchNorm multiplies each channel by, in eval mode."""
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_var is not None
    return norm.weight * (norm.running_var + norm.eps).rsqrt()


def activation(features: Tensor, weights: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., 2017), at most 1 in every picture: float32 [B, h, w]."""
    raw = (features * weights[:, :, None, None]).sum(1).relu()
    return raw / raw.amax((1, 2), keepdim=True).clamp_min(TINY)
