"""What ``--help`` prints: every knob of a command, and the files of ``conf/``."""

import dataclasses
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from paddy_lightning.config import TrainConfig
from paddy_lightning.knob import every_knob

CHECKOUT, PACKAGE = Path(__file__).parents[3], Path(__file__).parents[1]
CONF = next(place / "conf" for place in (PACKAGE, CHECKOUT) if (place / "conf").is_dir())


def help_text(name: str, kind: type[Any]) -> str:
    """Every knob with its default and meaning, and the groups."""
    rows = list(knobs(kind))
    width = max(len(f"{name}={default}") for name, default, _ in rows) + 2
    lines = [f"  {f'{name}={default}':{width}}{meaning}" for name, default, meaning in rows]
    if issubclass(kind, TrainConfig):
        lines += ["", f"  data={'|'.join(choices('data'))}: where the pictures are"]
        lines += [f"  recipe={'|'.join(choices('recipe'))}: several knobs at once"]
        lines += ["  -m: every combination of values with commas, each a run of its own"]
    usage, more = f"paddy {name} [knob=value ...]", "hydra.run.dir=FOLDER; --hydra-help"
    return "\n".join([usage, "", *lines, "", f"  {more} for all of Hydra's own"])


def choices(group: str) -> list[str]:
    """The files of a group of ``conf/``."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def knobs(kind: type[Any]) -> Iterator[tuple[str, str, str]]:
    """(name, default, meaning) of every knob, those of nested configs dotted."""
    for name, knob in every_knob(kind):
        factory = knob.default_factory
        default = knob.default if factory is dataclasses.MISSING else factory()
        meaning = knob.metadata["meaning"]
        if isinstance(default, StrEnum):
            meaning = f"{'|'.join(type(default))}: {meaning}"
        shown = str(default)
        if default is None or isinstance(default, bool):
            shown = {None: "null", True: "true", False: "false"}[default]
        yield name, shown, meaning
