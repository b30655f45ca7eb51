"""Pictures of the pipeline at work, before anything is trained."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate
from torchvision.utils import make_grid

from paddy_lightning.atomic import written_whole
from paddy_lightning.choices import Resize
from paddy_lightning.command_configs import SurveyConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.augment import Augment, kornia_augmentations
from paddy_lightning.data.datamodule import EpochSampler
from paddy_lightning.data.formats import opened
from paddy_lightning.data.pictures import Batch, Pictures
from paddy_lightning.data.presize import Presize, upright_rgb
from paddy_lightning.data.soft_targets import SoftTargets
from paddy_lightning.data.split import split_table
from paddy_lightning.data.table import describe, open_data
from paddy_lightning.insight.figures import new_figure, save_figures
from paddy_lightning.network.model import build_model, resolve_arch
from paddy_lightning.quiet import left_as_found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
COLUMNS = 8
SHOWN = 32


def mosaic(pictures: Tensor, mean: list[float], std: list[float], columns: int = COLUMNS) -> Tensor:
    """A sheet of what the network sees.

    Args:
        pictures: float32 [B, 3, height, width], normalised.
        mean: As in the normalisation, one number a channel.
        std: Likewise.
        columns: Pictures a row.

    Returns:
        uint8 [3, H, W].
    """
    channels = (1, 3, 1, 1)
    shown = pictures.detach().float().cpu() * torch.tensor(std).view(channels)
    shown = (shown + torch.tensor(mean).view(channels)).clamp(0, 1)
    return (make_grid(shown, nrow=columns) * 255).round().to(torch.uint8)


def run_show(config: SurveyConfig, run_dir: Path) -> None:
    """``paddy survey show=true``: the stages as a table, and figures of what they make.

    Raises:
        UserError: No data there.
        SystemExit: 1, if a stage fails.
    """
    data = open_data(config.data)
    log.info(describe(data))
    stages = summary(config)
    log.info("%s", stages.to_string(index=False))
    if not stages["problem"].eq("").all():
        raise SystemExit(1)
    methods = show_resize(config)
    save_figures(run_dir, {"resize_methods": lambda: methods})
    for name, unique in (("batch", False), ("one_picture", True)):
        with written_whole(run_dir / "figures" / f"{name}.png") as temporary:
            show_batch(config, unique).save(temporary, "PNG")
    log.info("figures are in %s", run_dir / "figures")


@left_as_found()
def show_batch(config: TrainConfig, unique: bool = False, count: int = SHOWN) -> Image.Image:
    """The first batch of the first epoch as the network sees it.

    Args:
        config: Every knob.
        unique: Show one picture, as it comes in one epoch after the other, but not mixed.
        count: How many pictures.
    """
    pictures, rows = _training_pictures(config)
    augment = _augment(config)
    mixes = bool(config.mixup or config.cutmix) and not unique
    if unique:
        keys = [(rows[0], epoch) for epoch in range(count)]
    else:  # to mix them, partners are needed, too
        keys = [(row, 0) for row in rows[: config.batch_size if mixes else count]]
    seen = []
    for row, epoch in keys:
        image, label, index = pictures[(row, epoch)]
        image = augment.random(image[None], index[None], epoch)
        seen.append(Batch(image, label[None], index[None]))
    batch = Batch(*map(torch.cat, zip(*seen, strict=True)))
    if mixes:
        num_classes = int(pictures.labels.max()) + 1
        mix = SoftTargets(num_classes, config.mixup, config.cutmix, seed=config.seed)
        batch = batch._replace(image=mix(batch, 0).image)
    sheet = mosaic(batch.image[:count], augment.mean.tolist(), augment.std.tolist())
    return Image.fromarray(sheet.permute(1, 2, 0).numpy())


@left_as_found()
def show_resize(config: TrainConfig) -> "Figure":
    """One picture by every method of resizing: file, presized, in training and in validation."""
    figure = new_figure(9, 2.7 * len(Resize))
    grid = figure.subplots(len(Resize), 4)
    for line, method in zip(grid, Resize, strict=True):
        changed = replace(config, resize=method)
        pictures, rows = _training_pictures(changed)
        augment = _augment(changed)
        image, _, index = pictures[(rows[0], 0)]
        centred = pictures[rows[0]].image
        with opened(_path(pictures, rows[0])) as opened_file:
            file = upright_rgb(opened_file)
        mean, std = augment.mean.tolist(), augment.std.tolist()
        trained, validated = (
            mosaic(seen, mean, std).permute(1, 2, 0).numpy()
            for seen in (augment.random(image[None], index[None], 0), augment.plain(centred[None]))
        )
        names = ("file", "presized", "training", "validation")
        shown = (np.asarray(file), image.numpy(), trained, validated)
        for axes, name, picture in zip(line, names, shown, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{name}, {picture.shape[0]}x{picture.shape[1]}", fontsize=9)
        line[0].set_ylabel(method)
    return figure


@left_as_found()
def summary(config: TrainConfig) -> pd.DataFrame:
    """What each stage of the pipeline makes of the first batch, up to the first that fails.

    fastai's ``DataBlock.summary``.

    Returns:
        A row a stage: ``stage, shape, dtype, low, high, problem``.
    """
    rows: list[tuple[Any, ...]] = []
    made = _stages(config)
    for stage in STAGES:
        try:
            values = next(made)
        except Exception as error:  # whatever it is, it is what the user wants to see
            rows.append((stage, "", "", "", "", f"{type(error).__name__}: {error}"))
            break
        dtype = str(values.dtype).removeprefix("torch.")
        low, high = (f"{float(value):.4g}" for value in (values.min(), values.max()))
        rows.append((stage, "x".join(map(str, values.shape)), dtype, low, high, ""))
    return pd.DataFrame(rows, columns=["stage", "shape", "dtype", "low", "high", "problem"])


STAGES = ("opened", "presized", "batch", "augmented", "validation", "body", "logits", "loss")


def _stages(config: TrainConfig) -> Iterator[np.ndarray | Tensor]:
    pictures, rows = _training_pictures(config)
    augment = _augment(config)
    with opened(_path(pictures, rows[0])) as file:
        stored = np.asarray(file)
    yield stored
    yield pictures[(rows[0], 0)].image
    batch = default_collate([pictures[(row, 0)] for row in rows[: config.batch_size]])
    yield batch.image
    seen = augment.random(batch.image, batch.index, 0)
    yield seen
    yield augment.plain(batch.image)
    num_classes = int(pictures.labels.max()) + 1
    network = build_model(config.arch, num_classes, "none", config.size)
    with torch.no_grad():
        yield network.maps(seen)
        logits = network(seen)
        yield logits
        yield F.cross_entropy(logits, batch.label)


def _training_pictures(config: TrainConfig) -> tuple[Pictures, list[int]]:
    """The data set as training opens it, and its training rows in the order of the first epoch."""
    data = open_data(config.data)
    table = split_table(data.train, data.root, **config.split_knobs())
    presize = Presize(config.presize, config.resize, config.pad_mode, config.draft)
    labels = pd.Categorical(table["label"]).codes.astype(np.int64)
    pictures = Pictures(data.root, table["file"], labels, presize, seed=config.seed)
    rows = np.flatnonzero(~table["is_valid"])
    return pictures, [row for row, _ in EpochSampler(rows, config.seed)]


def _augment(config: TrainConfig) -> Augment:
    arch = resolve_arch(config.arch)[1]
    extra = kornia_augmentations(config.augment)
    mean, std = arch.mean, arch.std
    return Augment(config.size, mean, std, config.seed, config.min_scale, extra)


def _path(pictures: Pictures, row: int) -> Path:
    return Path(pictures.root, os.fsdecode(pictures.files[row]))
