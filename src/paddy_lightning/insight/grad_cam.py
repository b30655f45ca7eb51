"""Where a network looks: Grad-CAM (Selvaraju et al., 2017), by captum."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from paddy_lightning.errors import UserError
from paddy_lightning.network.model import Network
from paddy_lightning.runs.pictures import pictures_of
from paddy_lightning.runs.trained import augment_of, load_checkpoint, load_network

log = logging.getLogger(__name__)
AT_ONCE = 16  # pictures
Picture = tuple[np.ndarray, np.ndarray]  # uint8 [height, width, 3]; float32 [height, width] in 0..1


def picture_top_losses(run_dir: Path, rows: pd.DataFrame) -> list[Picture]:
    """As ``pictures_with_maps``; none where the data set is no longer there, which is told."""
    try:
        return pictures_with_maps(run_dir, rows)
    except UserError as error:
        log.warning("no pictures of the top losses: %s", error)
        return []


def pictures_with_maps(run_dir: Path, rows: pd.DataFrame) -> list[Picture]:
    """The pictures of some rows of predictions as the network sees them, each with its map.

    Args:
        run_dir: The run folder.
        rows: With ``file`` and ``predicted``, the class that each map is for.

    Returns:
        A picture and a map of attention a row.

    Raises:
        UserError: The data set or the checkpoint is no longer there, or a file cannot be read.
    """
    checkpoint = load_checkpoint(run_dir)
    facts = checkpoint["hyper_parameters"]
    pictures = pictures_of(facts, rows["file"])
    network = load_network(checkpoint).float().eval()
    augment, names = augment_of(facts), facts["class_names"]
    mean, std = (torch.tensor(facts[name]).view(3, 1, 1) for name in ("mean", "std"))
    targets = torch.tensor([names.index(name) for name in rows["predicted"]])
    found: list[Picture] = []
    for some in torch.arange(len(rows)).split(AT_ONCE):
        seen = augment.plain(torch.stack([pictures[int(row)].image for row in some]))
        maps = attention(network, seen, targets[some])
        shown = ((seen * std + mean).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1)
        found += zip(shown.numpy(), maps.numpy(), strict=True)
    return found


def attention(network: Network, pictures: Tensor, target: Tensor) -> Tensor:
    """How much each place speaks for a class, scaled to 0..1 within a picture.

    Grad-CAM of the body's last map, or, for a body that pools by itself (such as a ViT) and so
    hands over no map, smoothed gradients of the input.

    Args:
        network: In eval mode.
        pictures: float32 [B, 3, height, width], normalised.
        target: int64 [B], the classes.

    Returns:
        float32 [B, height, width].
    """
    from captum.attr import LayerGradCam, Saliency

    with torch.enable_grad():
        if network.pools_itself:
            watched = pictures.clone().requires_grad_()
            raw = Saliency(network).attribute(watched, target).mean(1, keepdim=True)
            side = max(1, min(pictures.shape[2:]) // 16) * 2 + 1
            raw = F.avg_pool2d(raw, side, 1, side // 2)
        else:
            pooling: nn.Module = network.head[0]
            raw = LayerGradCam(network, pooling).attribute(
                pictures, target, attribute_to_layer_input=True, relu_attributions=True
            )
    size = pictures.shape[2:]
    maps = F.interpolate(raw.detach(), tuple(size), mode="bilinear")[:, 0]
    low, high = (getattr(maps, side)(dim=(1, 2), keepdim=True) for side in ("amin", "amax"))
    return (maps - low) / (high - low).clamp_min(1e-12)
