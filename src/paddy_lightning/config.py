"""Every knob of training once: name, type, default, meaning; its choices are in ``choices.py``.

Plain dataclasses, here and in ``command_configs.py``, and no import of torch: ``--help`` and
Hydra's parsing stay fast. Hydra builds them from the command line, a notebook by hand:
``train(TrainConfig(epochs=1, resize="pad"))``.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from paddy_lightning.choices import (
    BadImages,
    ClassWeights,
    DataConfig,
    Keep,
    Norm,
    PadMode,
    Resize,
    Schedule,
    Split,
)
from paddy_lightning.errors import UserError
from paddy_lightning.knob import PATH, TEXT, knob, read_lr, read_size, read_values

# Knobs that may differ between a run and what goes on with it.
MAY_CHANGE = {"num_workers", "cache", "cache_gb", "profile", "trainer", "resume"}


@dataclass
class TrainConfig:
    """All that ``paddy train`` can be told."""

    data: DataConfig = field(default_factory=DataConfig)
    arch: str = knob("resnet26d", "any timm name, with or without its tag")
    arch_args: dict[str, Any] = knob({}, "of timm's model, such as {drop_path_rate: 0.1}")
    weights: str = knob("pretrained", "pretrained, none, or a file with timm's names", PATH)
    start: str | None = knob(None, "a run to start from, head included, in place of weights", PATH)
    resize: Resize = knob(Resize.squish, "to the presized shape: distort, add borders, or cut")
    presize: Any = knob(480, "what workers make of each file: 480, [480,360] or 480x360 (h x w)")
    size: Any = knob(128, "what the model sees, in the same forms")
    pad_mode: PadMode = knob(PadMode.zeros, "what resize=pad puts around a picture")
    draft: bool = knob(True, "decode large JPEGs at 1/2, 1/4 or 1/8 where that is enough")
    min_scale: float = knob(0.75, "smallest share of the area that a training crop keeps, (0, 1]")
    augment: list[Any] = knob([], "more of kornia.augmentation: [{RandomErasing: {p: 0.5}}]")
    epochs: int = knob(3, "epochs with everything training")
    freeze_epochs: int = knob(1, "epochs before those with only head and normalisation training")
    schedule: Schedule = knob(Schedule.fine_tune, "fastai's fine_tune, or fit_one_cycle (twice)")
    lr: Any = knob(2e-3, "base learning rate, or find: the finder's valley")
    lr_mult: float | None = knob(
        None,
        "in fine_tune's unfrozen epochs, the head's rate over the body's; fastai's is 100; null: 1"
        " for bodies with batch normalisation, 10 for others",
    )
    layer_decay: float = knob(1.0, "a body's layer trains at this share of the next one's rate")
    unfrozen_lr: float | None = knob(None, "peak of one_cycle's unfrozen epochs; null: lr")
    bn: Norm = knob(Norm.train, "the body's normalisation layers in the frozen epochs")
    weight_decay: float = knob(0.01, "AdamW's; none on biases and normalisation layers")
    drop_rate: float = knob(0.5, "dropout before the last layer, [0, 1); half of it a layer before")
    label_smoothing: float = knob(0.0, "share of a label's weight that goes to all classes, [0, 1)")
    class_weights: ClassWeights = knob(
        ClassWeights.none, "in the loss: all alike, by 1 / a class's pictures, or by its root"
    )
    mixup: float = knob(0.0, "alpha of a Beta: how much another picture is blended in; 0: none")
    cutmix: float = knob(0.0, "likewise, in a box; with mixup a picture draws one of the two")
    soft_labels: str | None = knob(
        None, "out_of_fold.csv of paddy compare: networks' answers, to mix with the labels", PATH
    )
    soft_share: float = knob(0.3, "share of a label's weight that goes to these answers, [0, 1]")
    ema: bool = knob(False, "validate and keep an average of the weights over the steps")
    keep: Keep = knob(Keep.last, "the epoch of the lowest error, of the lowest loss, or the last")
    batch_size: int = knob(64, "pictures a step (times trainer.accumulate_grad_batches)")
    seed: int = knob(42, "of weights, order, augmentation and dropout")
    split: Split = knob(Split.auto, "which pictures validate; auto: the data's own, else random")
    split_seed: int = knob(42, "of the train / validation split")
    fold: int | None = knob(None, "validate on this fold, from 0; null: a fifth, as fastai does")
    folds: int = knob(5, "how many; fold=, group= and split=stratified validate on 1/folds")
    group: str | None = knob(
        None, "never split up: duplicates (pictures that look alike), or a column of csv", TEXT
    )
    test: str | None = knob(
        None, "folder with one folder a class, looked at once, when all is done", PATH
    )
    bad_images: BadImages = knob(BadImages.refuse, "what to do about files that cannot be read")
    precision: str = knob(
        "16-mixed",
        "16-mixed, bf16-mixed, or 16-, bf16-, 32- or 64-true; mixed: GPUs, bf16 also CPUs with AMX",
    )
    tta: bool = knob(False, "also report the error with test-time augmentation")
    num_workers: int | None = knob(
        None,
        "processes that open pictures; null: for a GPU one a core, max 8, off Linux 2; else 0",
    )
    cache: str | None = knob(None, "folder of presized pictures, or off; null: in ~/.cache", PATH)
    cache_gb: float = knob(20.0, "how large it may grow; what was longest of no use goes first")
    profile: bool = knob(False, "tell where an epoch's time goes, and what would shorten it")
    trainer: dict[str, Any] = knob({}, "other arguments of Lightning's Trainer, such as max_time")
    resume: str | None = knob(None, "a run folder: go on with that run, with its own config", PATH)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)
        if not isinstance(self.data, DataConfig):
            self.data = DataConfig(**self.data)
        self.lr = read_lr(self.lr)
        self.presize = read_size("presize", self.presize)
        self.size = read_size("size", self.size)

    def split_knobs(self) -> dict[str, Any]:
        """What ``split_table`` is to be told."""
        how = {"split": self.split, "seed": self.split_seed, "group": self.group}
        return how | {"fold": self.fold, "folds": self.folds}


def plain(config: Any) -> dict[str, Any]:
    """A config as plain values only, fit for YAML and for a checkpoint."""
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items()}


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case StrEnum() | Path():
            return str(value)
        case _:
            return value


def check_split(config: TrainConfig) -> None:
    """Refuse a split that no data could have.

    Raises:
        UserError: Names the knob.
    """
    check_counts(config, folds=2, split_seed=0)
    if config.fold is not None and not 0 <= config.fold < config.folds:
        raise UserError(f"fold={config.fold}: must be from 0 to {config.folds - 1} (folds - 1)")
    if config.split_seed >= 2**32:
        raise UserError(f"split_seed={config.split_seed}: must be below 2**32")


def check_counts(config: object, **least: int) -> None:
    """Refuse knobs below their least value; null passes.

    Raises:
        UserError: Names the knob.
    """
    for name, bound in least.items():
        value = getattr(config, name)
        if value is not None and value < bound:
            raise UserError(f"{name}={value}: must be at least {bound}")
