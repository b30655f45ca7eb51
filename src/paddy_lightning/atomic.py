"""Files appear whole or not at all, and what was there before is kept."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; moved into place when the block is done.

    Nothing is left of it when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Plain values as readable JSON, whole."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def set_aside(path: Path) -> Path | None:
    """Rename an existing ``name.csv`` to the first free ``name.1.csv``, ``name.2.csv``, ...

    Returns:
        Its new name, or None where there was nothing.
    """
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_suffix(f".{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)
    return aside


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written, anywhere below ``folder``."""
    for leftover in folder.rglob(".*.part"):
        if not _is_written(leftover):
            leftover.unlink(missing_ok=True)


def _is_written(leftover: Path) -> bool:
    """Whether another process, whose number is in the name, may still be at it."""
    number = leftover.name.split(".")[-2]
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
