"""A timm backbone and fastai's head: any arch by its name.

``Network.body`` is the timm model without its classifier, ``Network.head`` ends in one output a
class; freezing, discriminative rates and weight decay go by these two names.
"""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from paddy_lightning.choices import Size
from paddy_lightning.errors import UserError, nearest
from paddy_lightning.importing import compiler_later
from paddy_lightning.network.weights import (
    PACKAGED,
    WAYS_OUT,
    check_names,
    has_package,
    packaged_weights,
    read_weights,
    require_hub,
    require_url,
)

with compiler_later():
    import timm
    from timm.layers import SelectAdaptivePool2d
    from timm.models import PretrainedCfg, get_deprecated_models, get_pretrained_cfg, is_model

HEAD_WIDTH = 512
DROP_RATE = 0.5  # fastai's
# In place they copy their input first, since its gradient needs it, and then change it.
COPYING = (nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Mish, nn.SiLU)  # ReLU6 is a Hardtanh
# Of timm's create_model: what other knobs say, and what could load a file that nobody named.
OURS = {
    *("num_classes", "in_chans", "img_size", "pretrained", "pretrained_cfg", "checkpoint_path"),
    *("pretrained_cfg_overlay", "cache_dir", "model_name", "global_pool", "features_only"),
}


class Network(nn.Module):
    """Pictures -> one logit a class.

    Args:
        body: A timm model built with ``num_classes=0``.
        num_classes: How many logits.
        drop_rate: Of the head: see ``make_head``.

    Attributes:
        mean: Of the pictures the body was trained on, a number a channel, in [0, 1] units.
        std: Likewise.
    """

    def __init__(self, body: nn.Module, num_classes: int, drop_rate: float = DROP_RATE) -> None:
        super().__init__()
        config: dict[str, Any] = body.pretrained_cfg  # type: ignore[assignment]
        self.body = body
        self.pools_itself = config.get("pool_size") is None  # such as a ViT
        self.channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"  # such as a Swin
        width: int = body.head_hidden_size if self.pools_itself else body.num_features  # type: ignore[assignment]
        self.head = make_head(width, num_classes, not self.pools_itself, drop_rate)
        self.mean, self.std = [float(m) for m in config["mean"]], [float(s) for s in config["std"]]

        self.in_place = [
            part for part in self.modules() if isinstance(part, COPYING) and part.inplace
        ]

    def train(self, mode: bool = True) -> Self:
        """Training or evaluating; activations work in place where that is the faster way."""
        for activation in self.in_place:
            activation.inplace = not mode
        return super().train(mode)

    def forward(self, pictures: Tensor) -> Tensor:
        """float [B, 3, height, width], normalised -> float [B, num_classes]."""
        return self.head(self.maps(pictures))

    def features(self, pictures: Tensor) -> Tensor:
        """What the head's first layer that learns is given: float [B, width]."""
        pooling, _ = self.split_head()
        return pooling(self.maps(pictures))

    @property
    def has_traits(self) -> bool:
        """Whether the body shows its maps; a few do since timm 1.0.31 alone."""
        return hasattr(self.body, "forward_intermediates")

    def traits(self, pictures: Tensor) -> Tensor:
        """Means and deviations of the maps at a third and at half of the body: float [B, width].

        They tell what kind of picture it is: light, colours, texture. The last map no longer does,
        as fine-tuning leaves in it what the classes need. Only of who ``has_traits``.
        """
        body: Any = self.body
        stages = len(body.feature_info)
        indices = sorted({stages // 3, stages // 2})
        maps = body.forward_intermediates(
            pictures, indices, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        flat = [one.float().flatten(2) for one in maps]
        return torch.cat([told for one in flat for told in (one.mean(2), one.std(2))], dim=1)

    def split_head(self) -> tuple[nn.Sequential, nn.Sequential]:
        """The head's pooling, empty where the body pools itself, and its layers that learn."""
        first = 0 if self.pools_itself else 2
        return self.head[:first], self.head[first:]

    def maps(self, pictures: Tensor) -> Tensor:
        """What the head is given: float [B, channels, h, w]; [B, width] of who pools itself."""
        if self.pools_itself:
            return self.body(pictures)
        features = self.body.forward_features(pictures)  # type: ignore[operator]
        return features.permute(0, 3, 1, 2) if self.channels_last else features


def make_head(
    width: int, num_classes: int, pool: bool, drop_rate: float = DROP_RATE
) -> nn.Sequential:
    """fastai's head: [average and max pool,] then twice BatchNorm, Dropout, Linear.

    Args:
        width: Channels of the map, or features where the body pools itself.
        num_classes: Outputs.
        pool: Whether the input is a map [B, width, h, w] and not features [B, width].
        drop_rate: Of the second dropout, [0, 1); half of it of the first, as in fastai.
    """
    pooling = [SelectAdaptivePool2d(pool_type="catavgmax"), nn.Flatten()] if pool else []
    width = 2 * width if pool else width
    first = nn.Linear(width, HEAD_WIDTH, bias=False)
    last = nn.Linear(HEAD_WIDTH, num_classes, bias=False)
    for linear in (first, last):
        nn.init.kaiming_normal_(linear.weight)
    return nn.Sequential(
        *pooling,
        *(nn.BatchNorm1d(width), nn.Dropout(drop_rate / 2), first, nn.ReLU(inplace=True)),
        *(nn.BatchNorm1d(HEAD_WIDTH), nn.Dropout(drop_rate), last),
    )


def build_model(
    arch: str,
    num_classes: int,
    weights: str = "pretrained",
    size: Size = (128, 128),
    arch_args: dict[str, Any] | None = None,
    drop_rate: float = DROP_RATE,
) -> Network:
    """A network ready for fine-tuning.

    Args:
        arch: Any timm name, with or without its tag.
        num_classes: Outputs.
        weights: ``pretrained``, ``none`` (random), or a file with timm's names.
        size: ``(height, width)`` of the pictures, for archs that are built for one size.
        arch_args: More arguments of the timm model, such as ``drop_path_rate``.
        drop_rate: Of the head: see ``make_head``.

    Raises:
        UserError: Unknown arch, an argument or a size it cannot take, or weights that are not
            there or not its.
    """
    arch, config = resolve_arch(arch)
    check_arch_args(arch_args or {})
    arguments: dict[str, Any] = {**(arch_args or {}), "num_classes": 0}
    if config.fixed_input_size:
        arguments["img_size"] = size
    if weights != "none":
        arguments |= {"pretrained": True, **_source(arch, config, weights, arguments)}
    try:
        body = timm.create_model(arch, **arguments)
        body.pretrained_cfg.pop("state_dict", None)  # loaded, and as large as the network
        network = Network(body, num_classes, drop_rate).eval()
        with torch.no_grad():
            network(torch.zeros(1, 3, *size))  # a size that does not fit shows only here
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"arch={arch} size={size[0]}x{size[1]} weights={weights}: cannot be built"
            f" ({_reason(error)}); it was made for"
            f" size={config.input_size[1]}x{config.input_size[2]}"
        ) from error
    except Exception as error:  # a download has errors of its own, in each version others
        if weights != "pretrained":
            raise
        raise UserError(
            f"arch={arch}: its pretrained weights cannot be fetched ({_reason(error)}); {WAYS_OUT}"
        ) from error
    return network.train()


def check_arch_args(arch_args: dict[str, Any]) -> None:
    """Refuse arguments of a timm model that are ours to give, or open files.

    Raises:
        UserError: Names it.
    """
    if taken := sorted(set(arch_args) & OURS):
        raise UserError(
            f"arch_args: {taken[0]} is not yours to give; there are such as drop_path_rate"
        )


def _reason(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Error(s) in loading"):
        return lines[1]
    return lines[0] if lines else type(error).__name__


def resolve_arch(arch: str) -> tuple[str, PretrainedCfg]:
    """The full ``arch.tag`` of a name (bare names change their meaning with time) and its facts.

    Raises:
        UserError: timm has no such arch, or no such tag of it.
    """
    arch = get_deprecated_models().get(arch) or arch
    base = arch.split(".")[0]
    if not is_model(base):
        raise UserError(f"arch={arch}: timm has no such model{nearest(base, timm.list_models())}")
    try:
        config = get_pretrained_cfg(arch)
    except RuntimeError:
        tags = ", ".join(timm.list_models(f"{base}.*", pretrained=True))
        raise UserError(f"arch={arch}: {base} has no such weights; it has {tags}") from None
    config = config or PretrainedCfg()
    return (f"{base}.{config.tag}" if config.tag else base), config


def require_pretrained(arch: str) -> None:
    """Return if the pretrained weights of an arch are at hand or can be fetched.

    Raises:
        UserError: Neither; the message names the ways out.
    """
    arch, config = resolve_arch(arch)
    if arch == PACKAGED and has_package():
        return
    if config.hf_hub_id:
        require_hub(arch, config.hf_hub_id)
    elif config.url:
        require_url(arch, str(config.url))
    else:
        raise UserError(f"arch={arch}: timm has no pretrained weights; set weights=none")


def _source(
    arch: str, config: PretrainedCfg, weights: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """The arguments that make ``timm.create_model`` load from the right place."""
    if weights == "pretrained":
        require_pretrained(arch)
        state = packaged_weights() if arch == PACKAGED else None
        if state is None:
            return {}
    else:
        state = read_weights(Path(weights))
        expected = timm.create_model(arch, **arguments).state_dict()
        classifier = config.classifier or "classifier"
        check_names(
            Path(weights),
            state,
            expected,
            (classifier,) if isinstance(classifier, str) else tuple(classifier),
        )
    return {"pretrained_cfg_overlay": {"state_dict": state}}
