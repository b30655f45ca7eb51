"""The same work as fastai does it, with its own defaults."""

import warnings
from pathlib import Path
from typing import Any

import torch
from fastai.vision.all import (
    Callback,
    CancelValidException,
    ImageDataLoaders,
    IntToFloatTensor,
    Normalize,
    PILImage,
    Pipeline,
    Resize,
    ResizeMethod,
    TensorImage,
    ToTensor,
    aug_transforms,
    get_image_files,
    imagenet_stats,
    vision_learner,
)

warnings.filterwarnings("ignore", module="torch.jit|fastai|fastcore")
METHODS = {"squish": ResizeMethod.Squish, "pad": ResizeMethod.Pad, "crop": ResizeMethod.Crop}
Size = tuple[int, int]


def augmentation(images: torch.Tensor, size: Size) -> Any:
    """A function that augments uint8 [B, H, W, 3] as ``aug_transforms(min_scale=.75)`` does."""
    batch = TensorImage(images.permute(0, 3, 1, 2).contiguous())
    transforms = aug_transforms(size=size, min_scale=0.75)
    steps = [IntToFloatTensor(), *transforms, Normalize.from_stats(*imagenet_stats)]
    pipeline = Pipeline(steps, split_idx=0)
    return lambda: pipeline(batch)


def presize(file: Path, size: Size, resize: str) -> Any:
    """A file as a uint8 tensor of one shape."""
    return ToTensor()(Resize(size, method=METHODS[resize])(PILImage.create(file)))


class _NoValidation(Callback):  # type: ignore[misc]
    def before_validate(self) -> None:
        raise CancelValidException


class FastaiSide:
    """A learner on a folder with the trees ``train`` and ``valid``.

    Args:
        root: The folder.
        arch: A timm name.
        presize: ``(height, width)``.
        size: Likewise, of what the network sees.
        num_workers: Processes that open pictures.
        channels_last: Whether the network's tensors lie as they do here; not a default of fastai.
    """

    def __init__(
        self,
        root: Path,
        arch: str,
        presize: Size,
        size: Size,
        num_workers: int,
        channels_last: bool = False,
    ) -> None:
        self.dls = ImageDataLoaders.from_folder(
            root,
            train="train",
            valid="valid",
            item_tfms=Resize(presize, method=ResizeMethod.Squish),
            batch_tfms=[
                *aug_transforms(size=size, min_scale=0.75),
                Normalize.from_stats(*imagenet_stats),
            ],
            bs=64,
            num_workers=num_workers,
        )
        self.learn = vision_learner(self.dls, arch, pretrained=False)
        if torch.cuda.is_available():
            self.learn.to_fp16()
        if channels_last:
            self.learn.to_channelslast(use_amp=False)
        self.learn.unfreeze()

    def train(self) -> None:
        """An epoch over the training files."""
        with self.learn.no_bar(), self.learn.no_logging():
            self.learn.fit(1, cbs=_NoValidation())

    def validate(self) -> None:
        """Over the validation files."""
        with self.learn.no_bar(), self.learn.no_logging():
            self.learn.validate()

    def tta(self, count: int) -> None:
        """Four augmented views and the plain one, of some validation files."""
        files = sorted(get_image_files(Path(self.dls.path) / "valid"))[:count]
        with self.learn.no_bar(), self.learn.no_logging():
            self.learn.tta(dl=self.dls.test_dl(files, with_labels=True))

    def load(self) -> None:
        """An epoch of batches that nobody trains on, on the device, not augmented."""
        for _ in self.dls.train.new(after_batch=[]):
            pass
