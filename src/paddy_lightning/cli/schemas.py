"""The typed configs of Hydra: what it composes, and what comes of it; names of sweeps' folders."""

import os
import re
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from paddy_lightning.cli.hydra_errors import no_such_knob
from paddy_lightning.cli.words import as_typed
from paddy_lightning.command_configs import CONFIGS
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.knob import every_knob

SWEPT = "PADDY_SWEPT"  # environment variable: the knobs that a sweep varies


def register_schemas() -> None:
    """Tell Hydra the types and defaults of every knob."""
    store = ConfigStore.instance()
    for kind in CONFIGS:
        schema = OmegaConf.structured(kind)
        if issubclass(kind, TrainConfig):
            for anything in (schema.trainer, schema.arch_args):
                OmegaConf.set_struct(anything, False)  # any name; check() knows which exist
        store.store(f"{kind.__name__.removesuffix('Config').lower()}_schema", schema)


def typed(config: DictConfig) -> Any:
    """The config as its dataclass.

    Raises:
        UserError: A value that cannot be, or a name that is no knob: ``+name=`` adds any.
        OmegaConfBaseException: ``${...}`` that leads nowhere.
    """
    kind: Any = OmegaConf.get_type(config)
    known = [name for name, _ in every_knob(kind)]
    for part, prefix in ((config, ""), (config.get("data"), "data.")):
        for name in map(str, part or ()):
            if not any(f"{full}.".startswith(f"{prefix}{name}.") for full in known):
                raise UserError(no_such_knob(f"{prefix}{name}", known))
    return OmegaConf.to_object(config)


def job_folder(number: int, overrides: "list[str] | ListConfig") -> str:
    """``3_arch-resnet26d-resize-pad``: short, and safe in any shell and on Hydra's command line.

    Of the overrides, those that the sweep varies.
    """
    swept = set(os.environ.get(SWEPT, "").split(","))
    words = overrides if isinstance(overrides, list) else as_typed(overrides)
    told = [word for word in words if word.split("=")[0] in swept]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{number}_{'-'.join(told)}")[:80].strip("-")


# When this module is imported, and not later: a launcher's worker imports it and no more.
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
