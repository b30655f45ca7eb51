"""``predictions.csv`` as it grows: beside its place until it is whole, and gone on with if cut.

Beside the table lies a journal: its first line says of what the predictions are, each later one
how far the table is safe on the disk, and which labels it has. Whoever is killed, and whenever,
loses the rows since then alone.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pandas as pd

from paddy_lightning.atomic import replace, set_aside, sync_folder
from paddy_lightning.csv_tables import quoting_for, with_short_digits
from paddy_lightning.errors import UserError
from paddy_lightning.locks import alone

log = logging.getLogger(__name__)
AT_ONCE = 1000  # pictures, after which rows are made safe


class Labels(NamedTuple):
    """The labels of some rows, as numbers of classes; -1 where a file could not be read.

    Attributes:
        told: As the table has them.
        plain: Without test-time augmentation.
        candidates: How many each has; 0 where a file could not be read, or none were asked for.
        unfamiliar: 1 where a picture is, else 0; also where that was not asked for.
    """

    told: list[int]
    plain: list[int]
    candidates: list[int]
    unfamiliar: list[int]

    @classmethod
    def none(cls) -> "Labels":
        """Those of no rows."""
        return cls([], [], [], [])

    def add(self, more: "Labels") -> None:
        """Those of the next rows."""
        for ours, theirs in zip(self, more, strict=True):
            ours.extend(theirs)


class Partial:
    """A table of predictions that is being written.

    Args:
        path: Where it goes once it is whole.
        of: What the predictions are of: networks, pictures, knobs, as JSON has them.
        texts: All that its rows may have, for the quotes.

    Attributes:
        labels: Of the rows so far.

    Raises:
        UserError: What lies there is the beginning of other predictions.
    """

    def __init__(self, path: Path, of: Mapping[str, Any], texts: list[str]) -> None:
        self.path, self.of = path, of
        self.table = path.with_name(f"{path.name}.part")
        self.journal = path.with_name(f"{path.name}.journal")
        self.quoting = quoting_for(texts)
        self.labels = Labels.none()
        self._waiting: list[tuple[pd.DataFrame, Labels]] = []
        size = self._read_journal() if self.journal.is_file() and self.table.is_file() else 0
        self._file = self._open(size)

    def add(self, rows: pd.DataFrame, labels: Labels) -> None:
        """Take the next rows; from time to time they are made safe."""
        self._waiting.append((rows, labels))
        if sum(len(some) for some, _ in self._waiting) >= AT_ONCE:
            self.keep()

    def keep(self) -> None:
        """Make safe what waits, and say so in the journal."""
        new = self._write()
        lines = [] if self.journal.is_file() else [self.of]
        lines.append({"bytes": self._file.tell(), "labels": new})
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.writelines(json.dumps(line) + "\n" for line in lines)

    def finish(self) -> None:
        """Write what waits, and move the table into place; what was there is kept."""
        self._write()
        self._file.close()
        if aside := set_aside(self.path):
            log.info("kept what was there as %s", aside)
        replace(self.table, self.path)
        sync_folder(self.path.parent)
        self.journal.unlink(missing_ok=True)

    def leave(self) -> None:
        """Stop before the end: a table that has rows waits for whoever goes on."""
        if self.journal.is_file():
            self.keep()
            log.info(
                "%d rows are in %s; the same command goes on", len(self.labels.told), self.table
            )
        self._file.close()
        if not self.journal.is_file():
            self.table.unlink()

    def _write(self) -> Labels:
        """The labels of what waited, which is on the disk then."""
        new = Labels.none()
        for rows, labels in self._waiting:
            begins = not self._file.tell()
            rows = with_short_digits(rows, self.quoting)
            rows.to_csv(self._file, header=begins, index=False, quoting=self.quoting)
            new.add(labels)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.labels.add(new)
        self._waiting = []
        return new

    def _open(self, size: int) -> TextIO:
        """The table, cut to what is safe."""
        if not size:
            self.journal.unlink(missing_ok=True)
        with self.table.open("ab") as file:
            file.truncate(size)
        return self.table.open("a", encoding="utf-8", errors="surrogateescape", newline="")

    def _read_journal(self) -> int:
        """How many bytes of the table are safe."""
        safe, whole = 0, []
        with self.journal.open(encoding="utf-8") as journal:
            whole = [line for line in journal if line.endswith("\n")]
        first = json.loads(whole[0]) if whole else self.of
        others = [name for name, value in self.of.items() if first.get(name) != value]
        if others:
            raise UserError(
                f"{self.table}: is the beginning of other predictions ({', '.join(others)} differ);"
                " end those, remove it, or choose another output="
            )
        kept = whole[:1]
        for line in whole[1:]:
            told = json.loads(line)
            if told["bytes"] > self.table.stat().st_size:  # after a power cut
                break
            safe = told["bytes"]
            kept.append(line)
            self.labels.add(Labels(*told["labels"]))
        if safe:
            self.journal.write_text("".join(kept), "utf-8")
            log.info("goes on after the %d rows in %s", len(self.labels.told), self.table)
        return safe


def fingerprint(root: Path, files: Iterable[str]) -> str:
    """Of files as they are now: their names, sizes and times."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for file in files:
        try:
            told = os.stat(root / file)  # noqa: PTH116
        except OSError:  # gone, which is told when it is opened
            stamp = (-1, -1)
        else:
            stamp = (told.st_size, told.st_mtime_ns)
        digest.update(repr((os.fsencode(file), stamp)).encode())
    return digest.hexdigest()


@contextmanager
def partial(path: Path, of: Mapping[str, Any], texts: list[str]) -> Iterator[Partial]:
    """A ``Partial`` that is finished when the block is done, and left when it raises.

    Raises:
        UserError: As ``Partial``.
        TakenError: Another process predicts into this file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with alone(lock, f"{path}: another process is writing it"):
        table = Partial(path, of, texts)
        try:
            yield table
        except BaseException:
            table.leave()
            raise
        table.finish()
