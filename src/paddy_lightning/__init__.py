"""Image classification with PyTorch Lightning, from a folder of photos to a submission.

Its wings, in the order the data flows; each imports from those before it alone: ``data``,
``network``, ``runs``, ``prediction`` and ``insight``, ``training``, ``kaggle``, ``cli``. What is
here is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paddy_lightning.choices import DataConfig
    from paddy_lightning.config import TrainConfig
    from paddy_lightning.insight.interpret import interpret
    from paddy_lightning.prediction.predict import predict
    from paddy_lightning.training.train import train

__all__ = ["DataConfig", "TrainConfig", "interpret", "predict", "train"]
__version__ = "0.1.0"
HOMES = {
    "DataConfig": "choices",
    "TrainConfig": "config",
    "interpret": "insight.interpret",
    "predict": "prediction.predict",
    "train": "training.train",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
