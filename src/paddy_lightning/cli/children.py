"""What a process of ours gives to those it starts: words, the places of configs, environment."""

import os
import sys

from hydra.core.hydra_config import HydraConfig

from paddy_lightning.cli.help import CONF
from paddy_lightning.cli.words import as_typed, quoted_again
from paddy_lightning.ranks import COMMAND

FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable: "1" for whole tracebacks
OUR_FULL_ERROR = "PADDY_FULL_ERROR"  # what the user wants, while Hydra is told "1"


def wants_tracebacks() -> bool:
    """Whether the user set ``HYDRA_FULL_ERROR=1``."""
    return os.environ.get(OUR_FULL_ERROR, os.environ.get(FULL_ERROR)) == "1"


def child_environment() -> dict[str, str]:
    """For another command of ours: as this one's, but with the user's own wish for tracebacks."""
    kept = {k: v for k, v in os.environ.items() if k != COMMAND}
    return {k: v for k, v in kept.items() if k != FULL_ERROR or wants_tracebacks()}


def knobs_again() -> list[str]:
    """The knobs of this job, and where else than in ``conf/`` Hydra looks for its files."""
    told = HydraConfig.get().overrides
    searched = (word for word in as_typed(told.hydra) if word.startswith("hydra.searchpath="))
    return [*map(quoted_again, as_typed(told.task)), *searched]


def command_again(name: str) -> list[str]:
    """What starts a command of ``paddy`` with this Python."""
    return [sys.executable, "-m", "paddy_lightning", name]


def flags_again(name: str) -> list[str]:
    """``--config-dir=FOLDER`` and the like, where this process was given them."""
    hydra = HydraConfig.get()
    folders = {source.provider: source.path for source in hydra.runtime.config_sources}
    found = {
        "--config-name": (hydra.job.config_name, name.replace("-", "_")),
        "--config-path": (folders["main"], str(CONF)),
        "--config-dir": (folders.get("command-line"), None),
    }
    return [f"{flag}={value}" for flag, (value, usual) in found.items() if value != usual]
