"""What a knob may be told: the words of each choice, a size, and where a data set is.

The parts below the config take these; the config itself (``config.py``) none of them knows.
"""

from dataclasses import dataclass
from enum import StrEnum

from paddy_lightning.knob import PATH, knob, read_values

Size = tuple[int, int]


OFF = "off"  # in place of a folder for the cache


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


class Norm(StrEnum):
    """What the body's normalisation layers do while the rest of it is frozen."""

    train = "train"
    freeze = "freeze"


class ClassWeights(StrEnum):
    """What the loss of a picture counts for, by how many pictures its class has."""

    none = "none"
    balanced = "balanced"
    sqrt = "sqrt"


class Keep(StrEnum):
    """Which epoch's weights a run keeps as its best."""

    error = "error"
    loss = "loss"
    last = "last"


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
