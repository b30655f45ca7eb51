"""What is wrong with a data set, before anything is trained on it."""

import logging
import os
import sys
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from paddy_lightning.command_configs import SurveyConfig
from paddy_lightning.config import check_counts, check_split
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.alike import Alike, find_alike
from paddy_lightning.data.equal_files import equal_files
from paddy_lightning.data.formats import VARIANTS, opened, suffixes
from paddy_lightning.data.listing import list_images
from paddy_lightning.data.perceptual_hash import as_rows, hash_or_problem
from paddy_lightning.data.presize import orientation
from paddy_lightning.data.split import split_table
from paddy_lightning.data.table import DataSet, describe, open_data
from paddy_lightning.data.workers import cores_to_use
from paddy_lightning.errors import UserError
from paddy_lightning.insight.disagreements import csv_disagreements

log = logging.getLogger(__name__)
CHUNK = 64  # files that a process takes at a time
T = TypeVar("T")
MAX_TOLD = 40  # rows of a table on the terminal
HEADER = ("height", "width", "mode", "format", "orientation")


def run_survey(config: SurveyConfig, run_dir: Path) -> None:
    """``paddy survey``: ``survey.csv``, a sheet of pictures, and a report on the terminal.

    Raises:
        UserError: No data there.
        SystemExit: 1, if something must be mended.
    """
    from paddy_lightning.insight.figures import contact_sheet, save_figures

    check_split(config)
    check_counts(config, num_workers=0)
    data = open_data(config.data)
    log.info(describe(data))
    table = split_table(data.train, data.root, **config.split_knobs())
    rows = survey(data, table, cores_to_use(config.num_workers))
    write_table(run_dir / "survey.csv", rows)
    save_figures(run_dir, {"pictures": lambda: contact_sheet(rows)})
    log.info("%s\n\neverything is in %s", report(rows), run_dir)
    if rows["mend"].any():
        raise SystemExit(1)


def report(rows: pd.DataFrame) -> str:
    """A survey in a page."""
    pictures = rows[rows["height"].notna()]
    counts = pd.crosstab(rows["label"].replace("", "(no label)"), rows["part"], margins=True)
    sizes = (pictures["height"].astype(str) + "x" + pictures["width"].astype(str)).value_counts()
    labelled = rows.loc[rows["part"] != "test", "label"].value_counts()
    turned = int((pictures["orientation"] != 1).sum())
    kinds = [f"{kind} {count}" for kind, count in pictures["format"].value_counts().items()]
    modes = [f"{mode} {count}" for mode, count in pictures["mode"].value_counts().items()]
    most, least = labelled.index[0], labelled.index[-1]
    told = rows[rows["problem"] != ""]
    lines = [
        counts.head(MAX_TOLD).to_string(),
        "",
        f"sizes (height x width): {_most(sizes)}",
        f"formats: {', '.join(kinds)}; modes: {', '.join(modes)}; turned by EXIF: {turned}",
        f"balance: {most} has {labelled.iloc[0]}, {least} {labelled.iloc[-1]}"
        f" ({labelled.iloc[0] / labelled.iloc[-1]:.1f} to 1)",
        f"problems: {len(told)}, of which {int(told['mend'].sum())} must be mended",
    ]
    for row in told.sort_values("mend", ascending=False, kind="stable").head(MAX_TOLD).itertuples():
        lines.append(f"  {'mend' if row.mend else 'note'}  {row.path}: {row.problem}")
    if len(told) > MAX_TOLD:
        lines.append(f"  and {len(told) - MAX_TOLD} more, in survey.csv")
    return "\n".join(lines)


def _most(counts: pd.Series) -> str:
    some = ", ".join(f"{name} ({count})" for name, count in counts.head(5).items())
    return some + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")


def survey(data: DataSet, table: pd.DataFrame, num_workers: int) -> pd.DataFrame:
    """Look at every file of a data set, labelled or to predict.

    Args:
        data: Where the pictures are.
        table: The labelled ones, split.
        num_workers: Processes.

    Returns:
        A row a picture: ``path``, ``part`` (train, valid or test), ``label``, ``height``,
        ``width``, ``mode``, ``format``, ``orientation`` (EXIF's, 1 is upright), ``bytes``,
        ``alike`` (the number of its group, where it looks like others), ``mend`` (whether it must
        be mended) and ``problem``, empty where all is well. Rows of CSV files without a picture
        come last.
    """
    rows = list_parts(data, table)
    rows = pd.concat([rows, read_headers(rows["path"], num_workers)], axis=1)
    answers = in_processes(hash_or_problem, rows["path"], num_workers, "pictures")
    looked = pd.DataFrame(answers, rows.index, ["hash", "broken"])
    digests = equal_files(Path(), rows["path"])
    alike = alike_pictures(rows, looked["hash"], digests)
    rows["alike"] = number_groups(alike.group, rows.index)
    findings = [
        *(Finding(row, broken, True) for row, broken in looked["broken"].dropna().items()),
        *wrong_suffixes(rows),
        *duplicates(rows, alike, digests),
    ]
    said = pd.DataFrame(findings, columns=Finding._fields).groupby("row")
    rows["mend"] = said["mend"].any().reindex(rows.index, fill_value=False)
    rows["problem"] = said["problem"].agg("; ".join).reindex(rows.index, fill_value="")
    return pd.concat([rows, csv_disagreements(data, rows)], ignore_index=True)


class Finding(NamedTuple):
    """Something about a picture.

    Attributes:
        row: Which.
        problem: What.
        mend: Whether it must be mended, or is only told.
    """

    row: Hashable
    problem: str
    mend: bool


def list_parts(data: DataSet, table: pd.DataFrame) -> pd.DataFrame:
    """``path, part, label`` of every picture, those to predict last."""
    part = table["is_valid"].map({True: "valid", False: "train"})
    paths = [str(data.root / file) for file in table["file"]]
    rows = pd.DataFrame({"path": paths, "part": part, "label": table["label"]})
    if data.test_root is None:
        return rows
    test = [str(data.test_root / file) for file in list_images(data.test_root)]
    unlabelled = pd.DataFrame({"path": test, "part": "test", "label": ""})
    return pd.concat([rows, unlabelled], ignore_index=True)


def read_headers(paths: pd.Series, num_workers: int) -> pd.DataFrame:
    """``height, width, mode, format, orientation, bytes`` of files; no pixel is decoded."""
    rows = in_processes(header_of, paths, num_workers, "headers")
    frame = pd.DataFrame(rows, paths.index, [*HEADER, "bytes"])
    return frame.astype(dict.fromkeys(("height", "width", "orientation", "bytes"), "Int64"))


def wrong_suffixes(rows: pd.DataFrame) -> Iterator[Finding]:
    """Files that are another format than their name says; they are read for what they are."""
    for row, path, kind in zip(rows.index, rows["path"], rows["format"], strict=True):
        if isinstance(kind, str) and suffixes().get(Path(path).suffix.lower()) != VARIANTS.get(
            kind, kind
        ):
            yield Finding(row, f"is a {kind} file by another name", False)


def alike_pictures(rows: pd.DataFrame, hashes: pd.Series, digests: pd.Series) -> Alike:
    """``find_alike`` of all rows; what has no perceptual hash is alike to the same file only."""
    return find_alike(
        as_rows(hashes, digests),
        pd.Categorical(rows["label"].where(rows["label"] != "", None)).codes.astype(np.int64),
        rows["part"].map({"train": 0, "valid": 1, "test": -1}).to_numpy(np.int64),
    )


def number_groups(groups: np.ndarray, index: pd.Index) -> pd.Series:
    """Groups of several rows by number, from 1, in the order of their first rows."""
    several = np.bincount(groups)[groups] > 1
    numbers = pd.Series(pd.NA, index, dtype="Int64")
    numbers[several] = pd.factorize(groups[several])[0] + 1
    return numbers


def duplicates(rows: pd.DataFrame, alike: Alike, digests: pd.Series) -> Iterator[Finding]:
    """Equal files and pictures that look alike; a row names one other, that which matters most.

    Between classes one label must be wrong, and between train and valid the error is flattered:
    those must be mended. Within a class and a part, and between train and test, they are only told.
    """
    keys = digests.to_numpy()
    sizes = np.bincount(alike.group)[alike.group]
    paths, parts, labels = (rows[name].to_numpy() for name in ("path", "part", "label"))
    for here in np.flatnonzero(sizes > 1):
        there = alike.other[here]
        across_labels = len({labels[here], labels[there]} - {""}) > 1
        leak = {parts[here], parts[there]} == {"train", "valid"}
        problem = "the same file as" if keys[here] == keys[there] else "looks like"
        problem += f" {paths[there]}"
        problem += f", labelled {labels[there]}" if across_labels else ""
        problem += f", in {parts[there]}" if parts[here] != parts[there] else ""
        problem += f" (one of {sizes[here]} alike)" if sizes[here] > 2 else ""
        yield Finding(rows.index[int(here)], problem, across_labels or leak)


def header_of(path: str) -> tuple[Any, ...]:
    """Height, width, mode, format, orientation and bytes; missing what cannot be read."""
    size = os.path.getsize(path) if os.path.isfile(path) else None  # noqa: PTH113, PTH202
    try:
        with opened(Path(path)) as image:
            return image.height, image.width, image.mode, image.format, _turned(image), size
    except UserError:  # what is wrong is told by those who decode
        return None, None, None, None, None, size


def _turned(image: Image.Image) -> int:
    return orientation(image) if image.info else 1  # a PNG without any would be decoded for it


def in_processes(
    function: Callable[[str], T], paths: pd.Series, num_workers: int, about: str
) -> list[T]:
    """``map`` over paths, in processes, with a bar on a terminal.

    Raises:
        UserError: A process was killed; names the file that does it again, if one does.
    """
    found: list[T] = []
    try:
        with ProcessPoolExecutor(max(1, num_workers)) as pool:
            answers = pool.map(function, paths, chunksize=CHUNK)
            quiet = not sys.stderr.isatty()
            for answer in tqdm(answers, about, len(paths), leave=False, disable=quiet):
                found.append(answer)
    except BrokenProcessPool as error:
        for path in paths[len(found) : len(found) + CHUNK * max(1, num_workers)]:
            try:
                with ProcessPoolExecutor(1) as pool:
                    pool.submit(function, path).result()
            except BrokenProcessPool:
                raise UserError(f"{path}: who opens it is killed; move it away") from error
        raise UserError(
            "a process that opens pictures was killed, by someone or for want of memory: fewer"
            " num_workers= need less"
        ) from error
    return found
