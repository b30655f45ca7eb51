"""What a network says of a batch of float pictures: logits, and probabilities."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CPU_AT_ONCE = 16  # pictures whose maps stay in a processor's cache; in eval mode each is alone


def logits_of(network: nn.Module, pictures: Tensor) -> Tensor:
    """float32 [B, 3, height, width], normalised -> logits [B, num_classes].

    They are float32, also of lower weights, and float64 of such: loss and softmax need the digits.
    Pictures come as float32 and go in as what the weights are: under 64-true or bf16-true all of
    them are of that kind.
    """
    pictures = pictures.to(next(network.parameters()).dtype)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    if network.training or pictures.device.type != "cpu":
        logits = network(pictures)
    else:
        logits = torch.cat([network(some) for some in pictures.split(CPU_AT_ONCE)])
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def probabilities_of(network: nn.Module, pictures: Tensor) -> Tensor:
    """float32 [B, 3, height, width], normalised -> probabilities, float32 [B, num_classes]."""
    return F.softmax(logits_of(network, pictures), dim=1)
