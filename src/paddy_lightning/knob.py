"""A knob: a field of a config that knows its meaning, and what kind of text it holds."""

import dataclasses
import os
import re
from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from paddy_lightning.errors import UserError

PATH = "path"  # a place, or several: "~" is the home folder
TEXT = "text"  # any sentence, to be taken literally
FIND = "find"  # in place of a learning rate
SEVERAL = "several"  # one value, or several with commas between them
E = TypeVar("E", bound=StrEnum)


def knob(default: Any, meaning: str, holds: str = "") -> Any:
    """A dataclass field that knows what it is for, and whether it holds PATH, TEXT or SEVERAL."""
    about = {"meaning": meaning, "holds": holds}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=about)
    return field(default=default, metadata=about)


def every_knob(kind: type[Any], prefix: str = "") -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """(name, field) of every knob of a config, those of nested configs dotted."""
    for one in dataclasses.fields(kind):
        if dataclasses.is_dataclass(one.type):
            yield from every_knob(one.type, f"{one.name}.")  # type: ignore[arg-type]
        else:
            yield f"{prefix}{one.name}", one


def read_values(config: Any) -> None:
    """Take names for enum members, and ``~`` in paths for the home folder.

    Raises:
        UserError: A name that no member has.
    """
    for one in dataclasses.fields(config):
        value = getattr(config, one.name)
        if isinstance(one.type, type) and issubclass(one.type, StrEnum):
            setattr(config, one.name, read_enum(one.name, one.type, value))
        elif one.metadata.get("holds") == PATH:
            setattr(config, one.name, read_path(value))


def read_enum(name: str, kind: type[E], value: Any) -> E:
    """The member of that name.

    Raises:
        UserError: There is none.
    """
    try:
        return kind(str(value))
    except ValueError:
        raise UserError(f"{name}={value}: not one of {', '.join(kind)}") from None


def read_path(value: Any) -> Any:
    """A path, or a list of them, with ``~`` as the home folder; anything else as it is."""
    if isinstance(value, list):
        return [read_path(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, (str, Path)) else value  # noqa: PTH111


def read_size(name: str, value: Any) -> tuple[int, int]:
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
