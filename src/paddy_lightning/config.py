"""Every knob once: name, type, default, meaning, allowed values.

Plain dataclasses, and no import of torch: ``--help`` and Hydra's parsing stay fast. Hydra builds
them from the command line, a notebook by hand: ``train(TrainConfig(epochs=1, resize="pad"))``.
"""

import dataclasses
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from paddy_lightning.errors import UserError
from paddy_lightning.knob import PATH, TEXT, knob, read_enum, read_values

Size = tuple[int, int]
COMPETITION = "paddy-disease-classification"
FIND = "find"  # in place of a learning rate
OFF = "off"  # in place of a folder for the cache
# Knobs that may differ between a run and what goes on with it.
MAY_CHANGE = {"num_workers", "cache", "cache_gb", "profile", "trainer", "resume"}


class Source(StrEnum):
    """Where pictures come from."""

    auto = "auto"
    paddy = "paddy"
    folder = "folder"
    demo = "demo"


class Resize(StrEnum):
    """How a picture of any shape becomes one of the presized shape."""

    squish = "squish"
    pad = "pad"
    crop = "crop"


class PadMode(StrEnum):
    """What ``resize=pad`` puts around a picture."""

    zeros = "zeros"
    border = "border"
    reflection = "reflection"


class Split(StrEnum):
    """Which pictures validate."""

    auto = "auto"
    random = "random"
    stratified = "stratified"


class BadImages(StrEnum):
    """What training does about files that cannot be read as pictures."""

    refuse = "refuse"
    skip = "skip"


class Schedule(StrEnum):
    """How rates go over the epochs; both train the frozen epochs first."""

    fine_tune = "fine_tune"
    one_cycle = "one_cycle"


class Tta(StrEnum):
    """How test-time augmentation joins its views; ``true`` is ``mean``, ``false`` is ``off``."""

    off = "off"
    mean = "mean"
    max = "max"


@dataclass
class DataConfig:
    """The data set: set as a group (``data=folder``) and a place (``data.root=...``)."""

    source: Source = knob(
        Source.auto, "paddy: Kaggle's layout; folder: one folder a class; demo: drawn; auto: any"
    )
    root: str | None = knob(None, "folder of the pictures; null: ./data, then /kaggle/input", PATH)
    csv: str | None = knob(
        None, "table of file (relative to root) and label, instead of folders", PATH
    )

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class TrainConfig:
    """All that ``train.py`` can be told."""

    data: DataConfig = field(default_factory=DataConfig)
    arch: str = knob("resnet26d", "any timm name, with or without its tag")
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
    unfrozen_lr: float | None = knob(None, "peak of one_cycle's unfrozen epochs; null: lr")
    batch_size: int = knob(64, "pictures a step (times trainer.accumulate_grad_batches)")
    seed: int = knob(42, "of weights, order, augmentation and dropout")
    split: Split = knob(Split.auto, "which pictures validate; auto: the data's own, else random")
    split_seed: int = knob(42, "of the train / validation split")
    fold: int | None = knob(None, "validate on this fold, from 0; null: a fifth, as fastai does")
    folds: int = knob(5, "how many; fold=, group= and split=stratified validate on 1/folds")
    group: str | None = knob(
        None, "never split up: duplicates (equal files), or a column of csv", TEXT
    )
    bad_images: BadImages = knob(BadImages.refuse, "what to do about files that cannot be read")
    precision: str = knob(
        "16-mixed", "16-mixed, bf16-mixed, or 16-, bf16-, 32- or 64-true; mixed: GPUs only"
    )
    tta: bool = knob(False, "also report the error with test-time augmentation")
    num_workers: int | None = knob(
        None, "processes that open pictures; null: for a GPU one a core, max 8; else 0"
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


@dataclass
class SurveyConfig(TrainConfig):
    """All that ``survey.py`` can be told: the knobs of ``train.py``, and what to show."""

    show: bool = knob(False, "draw what the pipeline makes of pictures, instead of checking")


@dataclass
class PredictConfig:
    """All that ``predict.py`` can be told."""

    ckpt: Any = knob(None, "a run folder or a checkpoint file, or a list of them (required)", PATH)
    ensemble_weights: list[float] | None = knob(None, "what each of several counts for; null: 1")
    images: str | None = knob(
        None, "a picture or a folder; null: the test set of the run's data", PATH
    )
    tta: Any = knob("off", "off, mean (also: true) or max: test-time augmentation")
    output: str | None = knob(None, "folder of the CSV files; null: the run folder", PATH)
    batch_size: int = knob(64, "pictures a step")
    num_workers: int | None = knob(
        None, "processes that open pictures; null: for a GPU one a core, max 8; else 0"
    )

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)
        if isinstance(self.tta, bool):
            self.tta = Tta.mean if self.tta else Tta.off
        self.tta = read_enum("tta", Tta, self.tta)


@dataclass
class InterpretConfig:
    """All that ``interpret.py`` can be told."""

    run: str | None = knob(None, "the folder of a finished run (required)", PATH)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class CompareConfig:
    """All that ``compare.py`` can be told."""

    runs: Any = knob(None, "a sweep's folder, a run's, or a list of them (required)", PATH)
    output: str | None = knob(
        None, "folder of the comparison; null: a new one under outputs/", PATH
    )

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class DownloadConfig:
    """All that ``download.py`` can be told."""

    competition: str = knob(COMPETITION, "the last part of the competition's address on Kaggle")


@dataclass
class SubmitConfig:
    """All that ``submit.py`` can be told."""

    run: str | None = knob(
        None, "the folder that predict.py wrote submission.csv to (required)", PATH
    )
    message: str | None = knob(
        None, "what Kaggle shows beside the score; null: the run in a line", TEXT
    )
    competition: str | None = knob(
        None, "the last part of the competition's address on Kaggle; null: the data folder's name"
    )
    yes: bool = knob(False, "send without asking")
    dry_run: bool = knob(False, "do everything but send")
    wait: float = knob(600, "seconds to wait for the score")

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


CONFIGS = (
    *(TrainConfig, SurveyConfig, PredictConfig, InterpretConfig, CompareConfig),
    *(DownloadConfig, SubmitConfig),
)


def read_size(name: str, value: Any) -> Size:
    """``(height, width)`` from ``480``, ``"480x360"`` or ``[480, 360]``.

    Raises:
        UserError: Any other form, or a side below 1.
    """
    sides: Any = value
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)(?:x(\d+))?", value)):
        sides = (match[1], match[2] or match[1])
    if isinstance(value, int) and not isinstance(value, bool):
        sides = (value, value)
    try:
        height, width = (int(side) for side in sides)
        if height < 1 or width < 1 or [height, width] != [float(side) for side in sides]:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"{name}={value}: not a size; give one side, [height,width] or HEIGHTxWIDTH"
        ) from None
    return height, width


def read_lr(value: Any) -> float | str:
    """A rate, or ``find``.

    Raises:
        UserError: Neither.
    """
    try:
        lr = float(value)
    except (TypeError, ValueError):
        lr = float("nan")
    if value != FIND and not 0 < lr < float("inf"):
        raise UserError(f"lr={value}: must be above 0, such as 2e-3, or find")
    return FIND if value == FIND else lr


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
