"""Picture files -> probabilities -> ``predictions.csv``, byte for byte that of ``paddy predict``.

That one writes it with pandas; this goes without.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from paddy_lightning.atomic import written_whole
from paddy_lightning.data.listing import look_into
from paddy_lightning.data.presize import open_presized
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import UserError
from paddy_lightning.runtime.model import Model


def find_pictures(images: Path) -> tuple[Path, list[str]]:
    """A picture, or all below a folder: the folder, and the files relative to it, sorted.

    Raises:
        UserError: There are none.
    """
    if images.is_file():
        return images.parent, [images.name]
    if not images.is_dir():
        raise UserError(f"{images}: not there")
    files = look_into(images).pictures
    if not files:
        raise UserError(f"{images}: no pictures in it")
    return images, files


def predict_files(
    model: Model, root: Path, files: Sequence[str], batch_size: int = 64
) -> tuple[np.ndarray, list[str]]:
    """Open and predict, in batches; a thread a core opens.

    Returns:
        float32 [N, num_classes], NaN for files that cannot be read; and what is wrong with those.
    """
    answers, problems = zip(*predict_batches(model, root, files, batch_size), strict=True)
    return np.concatenate(answers), [problem for some in problems for problem in some]


def predict_batches(
    model: Model, root: Path, files: Sequence[str], batch_size: int = 64
) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Likewise, a batch after the other."""

    def opened(row: int) -> np.ndarray | str:
        try:
            return open_presized(root / files[row], model.presize)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(num_cores()) as pool:
        for start in range(0, len(files), batch_size):
            rows = range(start, min(start + batch_size, len(files)))
            pictures = list(pool.map(opened, rows))
            found = np.full((len(rows), len(model.class_names)), np.nan, np.float32)
            read = {row: one for row, one in enumerate(pictures) if not isinstance(one, str)}
            if read:
                found[list(read)] = model(np.stack(list(read.values())))
            yield found, [one for one in pictures if isinstance(one, str)]


def write_predictions(
    path: Path, files: Sequence[str], probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    """``file, label, confidence`` and a column a class; quotes as ``csv_tables.py`` has them."""
    head = ["file", "label", "confidence", *class_names]
    rows = [_row(*pair, class_names) for pair in zip(files, probabilities, strict=True)]
    odd = any("\r" in text for text in [*head, *files])
    with (
        written_whole(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
        table = csv.writer(file, lineterminator=os.linesep, quoting=quoting)
        table.writerow(head)
        table.writerows(rows)


def _row(file: str, shares: np.ndarray, class_names: Sequence[str]) -> list[object]:
    if np.isnan(shares).any():
        return [file, *[""] * (2 + len(class_names))]
    return [file, class_names[int(shares.argmax())], shares.max(), *shares]
