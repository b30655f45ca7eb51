"""Which parameters train, at what share of the rate, and which of them decay."""

from functools import cache
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import nn

from paddy_lightning.choices import Norm
from paddy_lightning.errors import UserError
from paddy_lightning.network.model import resolve_arch

# What trains on in a frozen body and is not decayed; with their subclasses, and no GroupNorm.
NORMALISATION = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
)

# The head's rate over the body's: for bodies with batch normalisation as docs/defaults.md has it
# measured. Others are usually fine-tuned at lower rates: at our default lr=2e-3, whose half is the
# second peak, 10 gives the 1e-4 that AutoGluon has for all pictures.
BATCH_NORM_MULT, OTHER_MULT = 1.0, 10.0


@cache
def default_lr_mult(arch: str) -> float:
    """The head's rate over the body's that suits an arch, in fastai's ``fine_tune``.

    Raises:
        UserError: timm has no such arch.
    """
    with torch.device("meta"):  # its modules alone, no weights
        body = timm.create_model(resolve_arch(arch)[0], num_classes=0)
    batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in body.modules())
    return BATCH_NORM_MULT if batch_norm else OTHER_MULT


def param_groups(
    model: nn.Module, weight_decay: float = 0.01, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Body and head, each with and without decay, in this order; fastai's rules.

    No decay for parameters of normalisation layers and any bias. Groups without parameters are
    left out.

    Args:
        model: Has ``body`` and ``head``.
        weight_decay: Of those that decay.
        layer_decay: The rate of a body's layer over that of the next, (0, 1]; the last trains at
            the whole of it. With less than 1 a layer has groups of its own, and its share of the
            rate is their ``share``. timm's layers, and its ``layer_decay``.

    Raises:
        UserError: timm does not tell the layers of this arch.
    """
    exempt = _normalisation_parameters(model)
    groups = []
    for part in ("body", "head"):
        named = dict(model.get_submodule(part).named_parameters())
        shares = dict.fromkeys(named, 1.0)
        if part == "body" and layer_decay < 1:
            shares = layer_shares(model.get_submodule(part), layer_decay)
        for number, share in enumerate(sorted(set(shares.values()), reverse=True)):
            name = f"{part}-{number}" if number else part  # layers below the last
            decayed: list[nn.Parameter] = []
            plain: list[nn.Parameter] = []
            for path in (path for path in named if shares[path] == share):
                is_plain = id(named[path]) in exempt or path.split(".")[-1] == "bias"
                (plain if is_plain else decayed).append(named[path])
            about = {"share": share}
            groups.append({"name": name, "params": decayed, "weight_decay": weight_decay, **about})
            groups.append(
                {"name": f"{name}_no_decay", "params": plain, "weight_decay": 0.0, **about}
            )
    return [group for group in groups if group["params"]]


def layer_shares(body: nn.Module, layer_decay: float) -> dict[str, float]:
    """What share of the rate each parameter of a body trains at: 1 in its last layer.

    Raises:
        UserError: timm does not tell its layers.
    """
    try:
        matcher = body.group_matcher(coarse=False)  # type: ignore[operator]
    except (AttributeError, AssertionError, TypeError) as error:
        raise UserError(
            f"layer_decay={layer_decay}: timm does not tell the layers of this arch; set 1"
        ) from error
    layers: dict[str, int] = group_parameters(body, matcher, reverse=True)
    last = max(layers.values())
    return {name: layer_decay ** (last - layer) for name, layer in layers.items()}


def set_frozen(body: nn.Module, frozen: bool, norm: Norm = Norm.train) -> None:
    """Stop or start the training of all but the normalisation layers.

    These train on in a frozen body, as fastai's do; or, with ``Norm.freeze``, neither their weights
    nor their statistics change in it.
    """
    trains_on = _normalisation_parameters(body) if norm is Norm.train else set()
    for parameter in body.parameters():
        parameter.requires_grad_(not frozen or id(parameter) in trains_on)
    if norm is Norm.freeze:
        for module in body.modules():
            if isinstance(module, NORMALISATION):
                module.train(not frozen)


def _normalisation_parameters(model: nn.Module) -> set[int]:
    layers = (module for module in model.modules() if isinstance(module, NORMALISATION))
    return {id(parameter) for layer in layers for parameter in layer.parameters(recurse=False)}
