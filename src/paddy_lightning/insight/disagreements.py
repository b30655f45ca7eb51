"""What Kaggle's CSV files say that the folders do not, and the other way round."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.table import DataSet


class Disagreement(NamedTuple):
    """A row of the survey about what a CSV file says.

    Attributes:
        path: As the CSV file has it, or relative to the folder of the pictures.
        part: train or test.
        label: Of the picture, by its folder if it has one.
        mend: Whether it must be mended, or is only told.
        problem: What is wrong.
    """

    path: str
    part: str
    label: str
    mend: bool
    problem: str


def csv_disagreements(data: DataSet, rows: pd.DataFrame) -> pd.DataFrame:
    """What ``train.csv`` and ``sample_submission.csv`` say that the folders do not, and back.

    Args:
        data: Where the pictures are.
        rows: ``path, part, label`` of every picture.
    """
    found: list[Disagreement] = []
    train_csv = Path(str(data.config.root), "train.csv")
    if data.config.csv is None and train_csv.is_file():
        here = rows[rows["part"] != "test"]
        files = [Path(path).relative_to(data.root).as_posix() for path in here["path"]]
        labels = dict(zip(files, here["label"], strict=True))
        own_split = data.train[data.train.get("is_valid", pd.Series(False, data.train.index))]
        found += train_disagreements(read_table(train_csv), labels, frozenset(own_split["file"]))
    if (sample := data.sample_submission) is not None:
        ids = set(read_table(sample).iloc[:, 0])
        test = {Path(path).name for path in rows.loc[rows["part"] == "test", "path"]}
        for name in sorted(ids - test):
            told = f"is in {sample.name} but not in the folder"
            found.append(Disagreement(name, "test", "", True, told))
        for name in sorted(test - ids):
            told = f"is in the folder but not in {sample.name}"
            found.append(Disagreement(name, "test", "", True, told))
    return pd.DataFrame(found, columns=Disagreement._fields)


def train_disagreements(
    listed: pd.DataFrame, labels: dict[str, str], optional: frozenset[str] = frozenset()
) -> Iterator[Disagreement]:
    """``train.csv`` against the folders; of its columns, that which names pictures is compared.

    A name means the files whose paths end with it, so that ``1.jpg`` may be ``a/1.jpg``. Of
    several, a row means one with its label.

    Args:
        listed: The CSV file; names alone are compared where it has no column ``label``.
        labels: Of every file, relative to the folder of the pictures.
        optional: Files that it need not name: those of a tree to validate on.
    """
    names, meant = _names(listed, labels)
    if not meant:
        yield Disagreement("train.csv", "train", "", False, "names none of the pictures")
        return
    said = listed["label"] if "label" in listed else names.map(lambda _: None)
    seen: set[str] = set()
    differing: list[tuple[str, str]] = []
    missing: list[tuple[str, str]] = []
    for name, label in dict.fromkeys(zip(names, said, strict=True)):
        files = meant.get(name, [])
        same = [file for file in files if label in (None, labels[file])]
        seen.update(same)
        if not files:
            missing.append((name, label or ""))
        elif not same:
            differing.append((name, label))
    for name, label in sorted(missing):
        yield Disagreement(name, "train", label, True, "is in train.csv but not in the folders")
    wrong = {}
    for name, label in differing:
        file = next((file for file in meant[name] if file not in seen), meant[name][0])
        wrong[file] = label
        seen.add(file)
    for file in sorted(labels.keys() - seen - optional):
        told = "is in the folders but not in train.csv"
        yield Disagreement(file, "train", labels[file], True, told)
    for file in sorted(wrong):
        yield Disagreement(file, "train", labels[file], True, f"is {wrong[file]} in train.csv")


def _names(listed: pd.DataFrame, files: Iterable[str]) -> tuple[pd.Series, dict[str, list[str]]]:
    """What a table calls its files, and which files each of the names means.

    It is the first column that names any, with their suffixes or without; else means nothing.
    """
    whole = [file.split("/") for file in files]
    stems = [os.path.splitext(file)[0].split("/") for file in files]  # noqa: PTH122
    columns = [listed[name] for name in listed if name != "label"]
    for parts, column in itertools.product((whole, stems), columns):
        names = column.str.strip().str.replace("\\", "/").str.strip("/").str.removeprefix("./")
        depths = set(names.str.count("/") + 1)
        meant = defaultdict(list)
        for file, steps in zip(files, parts, strict=True):
            for depth in depths:
                if depth <= len(steps):
                    meant["/".join(steps[-depth:])].append(file)
        if not meant.keys().isdisjoint(names):
            return names, meant
    return pd.Series(dtype=str), {}
