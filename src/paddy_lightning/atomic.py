"""Files appear whole or not at all, and what was there before is kept."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PAUSES = (0.05, 0.2, 0.8, 2.0)  # seconds


@contextmanager
def written_whole(path: Path, waits: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; moved into place when the block is done.

    Nothing is left of it when the block raises, and of one that was killed until the next one. On
    the disk before it has its name: a power cut leaves the old file or the new one.

    Args:
        path: The file.
        waits: Whether for the disk; a slow one can take seconds, which a figure is not worth.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        if waits:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        replace(temporary, path)
        if waits:
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Plain values as readable JSON, whole; paths with bytes that are no text come back as well."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, "utf-8", errors="backslashreplace")  # which JSON reads so, too


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


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left half written of this one file."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.([0-9]+)\.part")
    with os.scandir(path.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found and entry.is_file(follow_symlinks=False) and not _is_alive(int(found[1])):
                with suppress(PermissionError):  # Windows removes nothing that is open
                    Path(entry.path).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # 0 would be sent as Ctrl-C; but what is open cannot be removed
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's; no number of a process
        return True
    return True


def replace(temporary: Path, path: Path) -> None:
    """Move a file or a folder into place; on Windows, once no scanner has it open."""
    for pause in PAUSES if sys.platform == "win32" else ():
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(pause)
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where that can be asked for."""
    with suppress(OSError):  # Windows opens no folders, some mounts cannot sync them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
