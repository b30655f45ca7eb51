"""A drawn stand-in for the competition: Kaggle's layout, free of licences, the same everywhere."""

import csv
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from paddy_lightning.data.leaves import CLASS_NAMES, draw_leaf

VARIETIES = ("ADT45", "ADT45", "ADT45", "ADT45", "KarnatakaPonni", "Ponni", "AtchayaPonni")
TURNS = (
    *CLASS_NAMES,
    "normal",
    "normal",
    "blast",
    "blast",
    "hispa",
    "hispa",
    "dead_heart",
    "tungro",
)


def generate(root: str | Path, num_train: int = 600, num_test: int = 120) -> Path:
    """Draw the data set in Kaggle's layout, unless it is there.

    Args:
        root: Gets ``train_images/<class>/``, ``test_images/``, ``train.csv`` and
            ``sample_submission.csv``, all at once when all is drawn.
        num_train: At least one for each class.
        num_test: Pictures whose class nobody is told.

    Returns:
        ``root``.

    Raises:
        ValueError: Too few pictures for ten classes.
    """
    root = Path(root)
    if (root / "train_images").is_dir():
        return root
    if num_train < len(CLASS_NAMES):
        raise ValueError(f"num_train={num_train}: ten classes need at least ten pictures")
    train = [(f"{100001 + i}.jpg", TURNS[i % len(TURNS)], i) for i in range(num_train)]
    hidden = np.random.Generator(np.random.PCG64(0)).integers(len(CLASS_NAMES), size=num_test)
    test = [(f"{200001 + i}.jpg", CLASS_NAMES[c], 10**6 + i) for i, c in enumerate(hidden)]
    unfinished = root.with_name(f".{root.name}.{os.getpid()}.part")
    for label in CLASS_NAMES:
        (unfinished / "train_images" / label).mkdir(parents=True)
    (unfinished / "test_images").mkdir()
    try:
        jobs = [(unfinished / "train_images" / label / n, label, s) for n, label, s in train]
        jobs += [(unfinished / "test_images" / n, label, s) for n, label, s in test]
        with ProcessPoolExecutor() as pool:
            list(pool.map(_save, jobs, chunksize=16))
        _write_tables(unfinished, train, test)
        unfinished.rename(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root


def _save(job: tuple[Path, str, int]) -> None:
    path, label, seed = job
    draw_leaf(label, seed).save(path, quality=88)


def _write_tables(
    root: Path, train: list[tuple[str, str, int]], test: list[tuple[str, str, int]]
) -> None:
    def write(name: str, rows: list[tuple[object, ...]]) -> None:
        with (root / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    age = partial(np.random.default_rng(1).integers, 45, 83)
    facts = [(n, label, VARIETIES[i % 7], int(age())) for i, (n, label, _) in enumerate(train)]
    write("train.csv", [("image_id", "label", "variety", "age"), *facts])
    write("sample_submission.csv", [("image_id", "label"), *((name, "") for name, _, _ in test)])
