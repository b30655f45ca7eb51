"""What a network says of a batch of float pictures: logits, probabilities, features, traits."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from paddy_lightning.network.model import Network

CPU_AT_ONCE = 16  # pictures whose maps stay in a processor's cache; in eval mode each is alone


def logits_of(network: nn.Module, pictures: Tensor) -> Tensor:
    """float32 [B, 3, height, width], normalised -> logits [B, num_classes].

    They are float32, also of lower weights, and float64 of such: loss and softmax need the digits.
    Pictures come as float32 and go in as what the weights are: under 64-true or bf16-true all of
    them are of that kind.
    """
    return _answer(network, network, pictures)


def probabilities_of(network: nn.Module, pictures: Tensor) -> Tensor:
    """float32 [B, 3, height, width], normalised -> probabilities, float32 [B, num_classes]."""
    return F.softmax(logits_of(network, pictures), dim=1)


def features_of(network: Network, pictures: Tensor) -> Tensor:
    """What its head's first layer that learns is given: float32 [B, width]."""
    return _answer(network, network.features, pictures)


def traits_of(network: Network, pictures: Tensor) -> Tensor:
    """What kind of picture each is, by ``Network.traits``: float32 [B, width]."""
    return _answer(network, network.traits, pictures)


def probabilities_and_traits_of(network: Network, pictures: Tensor, views: int) -> Tensor:
    """Both, beside each other: float32 [B, num_classes + width].

    Args:
        network: In eval mode.
        pictures: float32 [B, 3, height, width], normalised.
        views: So many of each picture lie together; the traits are those of the last.
    """
    traits = traits_of(network, pictures[views - 1 :: views]).repeat_interleave(views, dim=0)
    return torch.cat([probabilities_of(network, pictures), traits], dim=1)


def _answer(network: nn.Module, part: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    pictures = pictures.to(next(network.parameters()).dtype)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    if network.training or pictures.device.type != "cpu":
        found = part(pictures)
    else:
        found = torch.cat([part(some) for some in pictures.split(CPU_AT_ONCE)])
    return found.to(torch.promote_types(found.dtype, torch.float32))
