"""What lies below a folder: pictures by their suffix, and what was left out and why."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from paddy_lightning.data.formats import suffixes
from paddy_lightning.errors import UserError
from paddy_lightning.lettering import printable

NAMED = 5  # of many, as examples
# Such as .ipynb_checkpoints, with its copies of pictures, or a server's thumbnails.
NOT_OURS = (".", "__MACOSX", "@eaDir")
# What our own folders hold, beside figures that are no pictures to learn from.
RUN_FILES = frozenset({".hydra", "summary.json", "survey.csv", "lr_find.csv", "comparison.csv"})


@dataclass
class Listing:
    """What lies below a folder; names relative to it, with ``/``, sorted.

    Attributes:
        pictures: Files with a picture's suffix.
        others: All other files.
        folders: That were looked into.
        runs: Folders that were not, being our own.
        remarks: What else was not, and why.
    """

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def list_images(root: Path) -> list[str]:
    """Every picture below ``root`` by its suffix, relative to it, with ``/``, sorted by path."""
    return look_into(root).pictures


def look_into(root: Path) -> Listing:
    """Every file below ``root``, each folder once: links go last, and in no circle.

    Raises:
        UserError: The folder itself cannot be listed.
    """
    found, known = Listing(), frozenset(suffixes())
    seen: set[tuple[int, int]] = set()
    folders, links, again = [""], list[str](), list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(root / folder)  # noqa: PTH116
            if status.st_ino and (status.st_dev, status.st_ino) in seen:
                again.append(folder)
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(root / folder))
        except OSError as error:
            if not folder:
                raise UserError(f"{root}: cannot be listed ({error.strerror})") from error
            found.remarks.append(f"{folder}/ is left out: it cannot be listed ({error.strerror})")
            continue
        if folder and not RUN_FILES.isdisjoint(entry.name for entry in entries):
            found.runs.append(folder)
            continue
        found.folders.append(folder)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(NOT_OURS):
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            else:
                is_picture = os.path.splitext(path)[1].lower() in known  # noqa: PTH122
                (found.pictures if is_picture else found.others).append(path)
        links.sort()
    if again:
        links_again = f"{len(again)} links lead to folders that are listed already"
        found.remarks.append(f"{links_again}, and are left out: {some(again)}")
    for names in (found.pictures, found.others, found.folders, found.runs):
        names.sort()
    if found.runs:
        found.remarks.append(f"{len(found.runs)} folders of runs are left out: {some(found.runs)}")
    return found


def some(names: Iterable[str]) -> str:
    """A few of many names, and whether there are more."""
    first = [printable(name) for name in islice(names, NAMED + 1)]
    return ", ".join(first[:NAMED]) + (", ..." if len(first) > NAMED else "")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, which is told of as a file that cannot be read
        return False


def by_suffix(files: Iterable[str]) -> Counter[str]:
    """How many files there are of each suffix."""
    return Counter(os.path.splitext(file)[1].lower() for file in files)  # noqa: PTH122


def told(suffixes_of: Counter[str]) -> str:
    """Files by suffix, in words; empty without any."""
    return some(f"{n} {suffix or 'without suffix'}" for suffix, n in suffixes_of.most_common())
