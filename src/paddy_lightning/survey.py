"""What is wrong with a data set, before anything is trained on it."""

import logging
import sys
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from PIL import ExifTags, Image
from tqdm import tqdm

from paddy_lightning.check import check_counts, check_split
from paddy_lightning.config import SurveyConfig
from paddy_lightning.duplicates import HASHED_SIZE, alike_pairs, equal_files, perceptual_hash
from paddy_lightning.errors import UserError
from paddy_lightning.presize import Presize, open_presized
from paddy_lightning.split import split_as_told
from paddy_lightning.table import (
    DataSet,
    describe,
    list_images,
    open_data,
    read_table,
    write_table,
)
from paddy_lightning.workers import cores_to_use

log = logging.getLogger(__name__)
CHUNK = 64  # files that a process takes at a time
MAX_TOLD = 40  # rows of a table on the terminal
HEADER = ("height", "width", "mode", "format", "orientation")
SUFFIXES = {  # of the formats that suffixes promise
    "JPEG": {".jpg", ".jpeg"},
    "MPO": {".jpg", ".jpeg"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp"},
    "TIFF": {".tif", ".tiff"},
}


def run_survey(config: SurveyConfig, run_dir: Path) -> None:
    """``survey.py``: ``survey.csv``, a sheet of pictures, and a report on the terminal.

    Raises:
        UserError: No data there.
        SystemExit: 1, if something must be mended.
    """
    from paddy_lightning.figures import contact_sheet, save_figures

    check_split(config)
    check_counts(config, num_workers=0)
    data = open_data(config.data)
    log.info(describe(data))
    table = split_as_told(config, data.train, data.root)
    rows = survey(data, table, cores_to_use(config.num_workers))
    write_table(run_dir / "survey.csv", rows)
    if (sheet := contact_sheet(rows)) is not None:
        save_figures(run_dir, {"pictures": sheet})
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
        ``width``, ``mode``, ``format``, ``orientation`` (EXIF's, 1 is upright), ``bytes``, ``mend``
        (whether it must be mended) and ``problem``, empty where all is well. Rows of CSV files
        without a picture come last.
    """
    rows = list_parts(data, table)
    rows = pd.concat([rows, read_headers(rows["path"], num_workers)], axis=1)
    with ProcessPoolExecutor(max(1, num_workers)) as pool:
        answers = pool.map(_hash_or_problem, rows["path"], chunksize=CHUNK)
        looked = pd.DataFrame(
            list(_bar(answers, "pictures", len(rows))), rows.index, ["hash", "broken"]
        )
    findings = [
        *(Finding(row, broken, True) for row, broken in looked["broken"].dropna().items()),
        *wrong_suffixes(rows),
        *duplicates(rows, looked["hash"].dropna()),
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
    with ProcessPoolExecutor(max(1, num_workers)) as pool:
        answers = pool.map(_header, paths, chunksize=CHUNK)
        rows = list(_bar(answers, "headers", len(paths)))
    frame = pd.DataFrame(rows, paths.index, [*HEADER, "bytes"])
    return frame.astype(dict.fromkeys(("height", "width", "orientation", "bytes"), "Int64"))


def wrong_suffixes(rows: pd.DataFrame) -> Iterator[Finding]:
    """Files that are another format than their name says; they are read for what they are."""
    for row, path, kind in zip(rows.index, rows["path"], rows["format"], strict=True):
        if isinstance(kind, str) and Path(path).suffix.lower() not in SUFFIXES.get(kind, set()):
            yield Finding(row, f"is a {kind} file by another name", False)


def duplicates(rows: pd.DataFrame, hashes: pd.Series) -> Iterator[Finding]:
    """Equal files and pictures that look alike, told of both.

    Between classes one label must be wrong, and between train and valid the error is flattered:
    those must be mended. Within a class and a part, and between train and test, they are only told.
    """
    digests = equal_files(Path(), rows["path"])
    places = hashes.index.to_list()
    pairs = {(places[first], places[second]) for first, second in alike_pairs(hashes.to_list())}
    for group in digests.groupby(digests).groups.values():
        pairs |= {(group[0], other) for other in group[1:]}
    for first, second in sorted(pairs):
        how = "the same file as" if digests[first] == digests[second] else "looks like"
        across_parts = rows["part"][first] != rows["part"][second]
        across_labels = len({rows["label"][first], rows["label"][second]} - {""}) > 1
        leak = {rows["part"][first], rows["part"][second]} == {"train", "valid"}
        for here, there in ((first, second), (second, first)):
            problem = f"{how} {rows['path'][there]}"
            problem += f", labelled {rows['label'][there]}" if across_labels else ""
            problem += f", in {rows['part'][there]}" if across_parts else ""
            yield Finding(here, problem, across_labels or leak)


def csv_disagreements(data: DataSet, rows: pd.DataFrame) -> pd.DataFrame:
    """What ``train.csv`` and ``sample_submission.csv`` say that the folders do not, and back."""
    found: list[dict[str, Any]] = []

    def tell(path: str, part: str, label: str, problem: str) -> None:
        about = {"path": path, "part": part, "label": label, "mend": True, "problem": problem}
        found.append(about)

    train_csv = Path(str(data.config.root), "train.csv")
    if data.config.csv is None and train_csv.is_file():
        listed = read_table(train_csv)
        known = dict(zip(listed.iloc[:, 0], listed.get("label", ""), strict=False))
        here = rows[rows["part"] != "test"]
        folders = dict(
            zip(here["path"].map(lambda path: Path(path).name), here["label"], strict=True)
        )
        for name in sorted(known.keys() - folders.keys()):
            tell(name, "train", known[name], "is in train.csv but not in the folders")
        for name in sorted(folders.keys() - known.keys()):
            tell(name, "train", folders[name], "is in the folders but not in train.csv")
        for name in sorted(known.keys() & folders.keys()):
            if known[name] != folders[name]:
                tell(name, "train", folders[name], f"is {known[name]} in train.csv")
    if data.sample_submission is not None:
        ids = set(read_table(data.sample_submission).iloc[:, 0])
        test = {Path(path).name for path in rows.loc[rows["part"] == "test", "path"]}
        for name in sorted(ids - test):
            tell(name, "test", "", f"is in {data.sample_submission.name} but not in the folder")
        for name in sorted(test - ids):
            tell(name, "test", "", f"is in the folder but not in {data.sample_submission.name}")
    return pd.DataFrame(found, columns=["path", "part", "label", "mend", "problem"])


def _hash_or_problem(path: str) -> tuple[bytes | None, str | None]:
    try:
        small = open_presized(Path(path), Presize(HASHED_SIZE))
        return perceptual_hash(Image.fromarray(small)), None
    except UserError as error:
        return None, str(error).removeprefix(f"{path}: ")


def _header(path: str) -> tuple[Any, ...]:
    """Height, width, mode, format, orientation and bytes; missing what cannot be read."""
    size = Path(path).stat().st_size if Path(path).is_file() else None
    try:
        with Image.open(path) as image:
            upright = image.getexif().get(ExifTags.Base.Orientation, 1) if image.info else 1
            return image.height, image.width, image.mode, image.format, upright, size
    except Exception:  # what is wrong is told by those who decode
        return None, None, None, None, None, size


def _bar(answers: Iterable[Any], about: str, total: int) -> Iterable[Any]:
    return tqdm(answers, about, total, leave=False, disable=not sys.stderr.isatty())
