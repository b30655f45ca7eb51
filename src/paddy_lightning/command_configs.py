"""Every knob of the commands beside ``paddy train``: name, type, default, meaning, once.

Some take the knobs of training as well, which are in ``config.py``.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from paddy_lightning.choices import Tta
from paddy_lightning.config import TrainConfig
from paddy_lightning.knob import PATH, SEVERAL, TEXT, knob, read_enum, read_size, read_values

COMPETITION = "paddy-disease-classification"


@dataclass
class SurveyConfig(TrainConfig):
    """All that ``paddy survey`` can be told: the knobs of ``paddy train``, and what to show."""

    show: bool = knob(False, "draw what the pipeline makes of pictures, instead of checking")


@dataclass
class ProbeConfig(TrainConfig):
    """All that ``paddy probe`` can be told: the knobs of ``paddy train``, two of them in plural."""

    arch: Any = knob("resnet26d", "timm names, with commas: a,b,c", SEVERAL)
    size: Any = knob(128, "what the models see; several with commas: 128,192x144", SEVERAL)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one: a list of names, and one of sizes."""
        archs, sizes = self.arch, self.size
        archs = archs.split(",") if isinstance(archs, str) else archs
        sizes = sizes.split(",") if isinstance(sizes, str) else sizes
        if not isinstance(sizes, list) or all(isinstance(side, int) for side in sizes):
            sizes = [sizes]
        self.size = sizes[0]
        super().__post_init__()
        self.arch = [str(arch).strip() for arch in archs]
        sides = (one.strip() if isinstance(one, str) else one for one in sizes)
        self.size = [read_size("size", one) for one in sides]

    def candidates(self) -> list[TrainConfig]:
        """What ``paddy train`` would be told for each arch at each size."""
        knobs = {one.name: getattr(self, one.name) for one in dataclasses.fields(TrainConfig)}
        pairs = dict.fromkeys((arch, size) for arch in self.arch for size in self.size)
        return [TrainConfig(**knobs | {"arch": arch, "size": size}) for arch, size in pairs]


@dataclass
class PredictConfig:
    """All that ``paddy predict`` can be told."""

    ckpt: Any = knob(
        None, "a run folder, a checkpoint or an exported file, or a list of them (required)", PATH
    )
    ensemble_weights: list[float] | None = knob(None, "what each of several counts for; null: 1")
    images: str | None = knob(
        None, "a picture or a folder; null: the test set of the run's data", PATH
    )
    tta: Any = knob("off", "off, mean (also: true) or max: test-time augmentation")
    size: Any = knob(None, "what the network sees: 147, 192x144; null: as it was trained")
    coverage: float | None = knob(
        None, "also tell the candidates that hold the true class this often, such as .95"
    )
    unfamiliar: bool = knob(
        False, "also tell how far each picture lies from what validated; above 1: another kind"
    )
    output: str | None = knob(None, "folder of the CSV files; null: the run folder", PATH)
    batch_size: int = knob(64, "pictures a step")
    num_workers: int | None = knob(
        None,
        "processes that open pictures; null: for a GPU one a core, max 8, off Linux 2; else 0",
    )

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)
        if isinstance(self.tta, bool):
            self.tta = Tta.mean if self.tta else Tta.off
        self.tta = read_enum("tta", Tta, self.tta)
        self.size = None if self.size is None else read_size("size", self.size)


@dataclass
class InterpretConfig:
    """All that ``paddy interpret`` can be told."""

    run: str | None = knob(None, "the folder of a finished run (required)", PATH)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class ExportConfig:
    """All that ``paddy export`` can be told."""

    run: str | None = knob(None, "the folder of a finished run (required)", PATH)
    int8: bool = knob(False, "write a smaller one in 8-bit integers as well, if it is as good")
    tta: bool = knob(False, "average over each picture and its mirror image")

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class PageConfig:
    """All that ``paddy page`` can be told."""

    run: str | None = knob(None, "the folder of a finished run (required)", PATH)
    title: str | None = knob(None, "of the page; null: the name of the data's folder", TEXT)
    names: str | None = knob(
        None, "table of what to call classes: columns label, shown; null: their own names", PATH
    )
    serve: bool = knob(False, "show the page on this machine until Ctrl-C")

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class SoupConfig:
    """All that ``paddy soup`` can be told."""

    runs: Any = knob(None, "a sweep's folder, or a list of runs, of one start= (required)", PATH)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class CompareConfig:
    """All that ``paddy compare`` can be told."""

    runs: Any = knob(None, "a sweep's folder, a run's, or a list of them (required)", PATH)
    output: str | None = knob(
        None, "folder of the comparison; null: a new one under outputs/", PATH
    )

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class LabelsConfig:
    """All that ``paddy labels`` can be told."""

    runs: Any = knob(None, "a sweep's folder, or a list of runs, over all folds (required)", PATH)
    output: str | None = knob(None, "folder of what is found; null: a new one under outputs/", PATH)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class DownloadConfig:
    """All that ``paddy download`` can be told."""

    competition: str = knob(COMPETITION, "the last part of the competition's address on Kaggle")


@dataclass
class SubmitConfig:
    """All that ``paddy submit`` can be told."""

    run: str | None = knob(
        None, "the folder that paddy predict wrote submission.csv to (required)", PATH
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


@dataclass
class BundleConfig:
    """All that ``paddy bundle`` can be told."""

    run: Any = knob(None, "a run folder or a checkpoint file, or a list of them (required)", PATH)
    output: str | None = knob(None, "folder of the bundle; null: bundle/ in the run folder", PATH)

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


@dataclass
class PushConfig:
    """All that ``paddy push`` can be told."""

    bundle: str | None = knob(None, "the folder that paddy bundle wrote (required)", PATH)
    competition: str | None = knob(
        None, "whose test pictures the notebook predicts; null: those of the run's data"
    )
    name: str | None = knob(None, "of the data set on Kaggle; null: COMPETITION-bundle")
    gpu: bool = knob(True, "the notebook has a GPU")
    wait: float = knob(600, "seconds that Kaggle may take to unpack the data set")

    def __post_init__(self) -> None:
        """Bring the free forms of a value to one."""
        read_values(self)


CONFIGS = (
    *(TrainConfig, SurveyConfig, ProbeConfig, PredictConfig, InterpretConfig, CompareConfig),
    *(
        LabelsConfig,
        SoupConfig,
        ExportConfig,
        PageConfig,
        DownloadConfig,
        SubmitConfig,
        BundleConfig,
        PushConfig,
    ),
)
