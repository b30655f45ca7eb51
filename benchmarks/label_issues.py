"""How many wrong labels ``paddy labels`` finds where some were swapped, and what mending brings.

    python -m benchmarks.label_issues outputs/labels bean=FOLDER rice=FOLDER demo=FOLDER

Each folder has one folder a class; that of the demo is drawn if it is not there. For each set, a
share of the labels is swapped at random, five folds are trained, and their suspects are compared
with what was swapped. Then labels of four fifths are mended, and networks trained on them judge the
last fifth, which had no part in the mending. What is done stays: the same command goes on.
"""

import argparse
import shutil
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.our_side import quiet
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.demo import generate
from paddy_lightning.data.table import open_data
from paddy_lightning.insight.compare import find_runs
from paddy_lightning.insight.label_issues import label_issues, out_of_fold
from paddy_lightning.runs.evidence import chance, paired_repeats
from paddy_lightning.runs.run_folder import read_predictions
from paddy_lightning.runs.summary import read_summary
from paddy_lightning.training.train import train

FOLDS = 5
SHARES = (0.05, 0.1)  # of the labels, swapped; and of the pictures, looked at first
SEEDS = (0, 1, 2)
MENDED, MENDED_SHARE = "bean", 0.1  # the set that is mended and trained on
WAYS = ("swapped", "suggested", "seen", "none swapped")  # tables to train on
DEMO = 300  # pictures


class Sweep(NamedTuple):
    """Five folds of one set with one table of labels.

    Attributes:
        folder: Of the runs; the table is beside them.
        root: Of the pictures.
        name: Of the set.
        share: Of the labels, that is swapped.
        seed: Of the swapping.
    """

    folder: Path
    root: Path
    name: str
    share: float
    seed: int

    @property
    def place(self) -> Path:
        """Where its runs are."""
        return self.folder / f"{self.name}_{self.share}_{self.seed}"


def true_labels(files: pd.Series) -> pd.Series:
    """The folder that a picture lies in."""
    return files.str.split("/").str[0]


def swapped(files: pd.Series, share: float, seed: int) -> pd.Series:
    """The labels, a share of them another class at random."""
    rng, labels = np.random.default_rng(seed), true_labels(files)
    for row in rng.permutation(len(files))[: round(share * len(files))]:
        others = sorted(set(labels) - {labels[row]})
        labels[row] = others[rng.integers(len(others))]
    return labels


def train_folds(sweep: Sweep, labels: pd.DataFrame) -> None:
    """Train what is not done yet."""
    table = sweep.place / "table.csv"
    write_table(table, labels)
    for fold in range(FOLDS):
        train_one(sweep.place / str(fold), sweep.root, table, fold)


def train_one(run: Path, root: Path, table: Path, fold: int | None = None) -> None:
    """A run in the fast setting of these photos, if it is not done yet."""
    if read_summary(run).get("status") == "done":
        return
    shutil.rmtree(run, ignore_errors=True)
    config = TrainConfig(
        DataConfig(Source.folder, str(root), str(table)),
        arch="tf_efficientnet_lite0",
        presize=192,
        size=128,
        epochs=4,
        lr=1e-2,
        batch_size=16,
        fold=fold,
        folds=FOLDS,
        seed=0,
    )
    train(config, run)


def train_mended(folder: Path, root: Path, seed: int) -> None:
    """Mend the labels of four fifths, and train on each table; the rest, truly labelled, judges.

    The networks that suggest labels never saw the pictures that judge: otherwise what they suggest
    would carry something of them, and flatter.
    """
    files = open_data(DataConfig(Source.folder, str(root))).train["file"]
    held = np.isin(
        np.arange(len(files)), np.random.default_rng(seed).permutation(len(files))[::FOLDS]
    )
    rest, judging = files[~held].reset_index(drop=True), files[held]
    labels = swapped(rest, MENDED_SHARE, seed)
    sweep = Sweep(folder, root, f"{MENDED}_rest", MENDED_SHARE, seed)
    train_folds(sweep, pd.DataFrame({"file": rest, "label": labels}))
    issues = found(sweep)
    tables = {"swapped": labels, "none swapped": true_labels(rest)}
    tables |= {way: mended(issues, way)["label"] for way in ("suggested", "seen")}
    judges = pd.DataFrame({"file": judging, "label": true_labels(judging), "is_valid": True})
    for way in WAYS:
        own = pd.DataFrame({"file": rest, "label": tables[way].to_numpy(), "is_valid": False})
        run = mended_run(folder, seed, way)
        write_table(run.with_suffix(".csv"), pd.concat([own, judges]))
        train_one(run, root, run.with_suffix(".csv"))


def mended_run(folder: Path, seed: int, way: str) -> Path:
    """Where the run on one of the tables is."""
    return folder / f"{MENDED}_mended_{seed}" / way.replace(" ", "_")


def found(sweep: Sweep) -> pd.DataFrame:
    """What ``paddy labels`` says of a sweep, and whether each label is ``false``."""
    return judged(label_issues(out_of_fold(find_runs(sweep.place)), sweep.root))


def judged(issues: pd.DataFrame) -> pd.DataFrame:
    """With the column ``false``, of labels that were swapped."""
    return issues.assign(false=issues["label"] != true_labels(issues["file"]))


def row_of(name: str, share: float, issues: pd.DataFrame) -> dict[str, object]:
    """A row of the table: how many false labels are among the first and among the suspects."""
    error = (issues["suggested"] != true_labels(issues["file"])).mean()
    row = {"set": name, "swapped": share, "pictures": len(issues), "error of suggested": error}
    parts = {f"first {share:.0%}": issues.head(round(share * len(issues))) for share in SHARES}
    for part_name, part in (parts | {"suspects": issues[~issues["keep"]]}).items():
        hits, all_false = int(part["false"].sum()), int(issues["false"].sum())
        if part_name == "suspects":
            row[part_name] = len(part)
        if all_false:
            row[f"recall, {part_name}"] = hits / all_false
            row[f"precision, {part_name}"] = hits / max(1, len(part))
    return row


def mended(issues: pd.DataFrame, way: str) -> pd.DataFrame:
    """The table with the suspects' labels as suggested, or as they truly are."""
    instead = issues["suggested"] if way == "suggested" else true_labels(issues["file"])
    labels = issues["label"].where(issues["keep"], instead)
    return issues[["file"]].assign(label=labels).sort_values("file")


def all_sweeps(folder: Path, roots: dict[str, Path]) -> list[Sweep]:
    """Those with swapped labels, clean ones first, then seed by seed."""
    clean = [Sweep(folder, root, name, 0.0, 0) for name, root in roots.items()]
    return clean + [
        Sweep(folder, root, name, share, seed)
        for seed in SEEDS
        for share in SHARES[::-1]
        for name, root in roots.items()
    ]


def train_all(folder: Path, roots: dict[str, Path]) -> None:
    """Every sweep, seed by seed; and then what is mended."""
    for _, of_seed in groupby(all_sweeps(folder, roots), lambda sweep: sweep.seed):
        for sweep in of_seed:
            files = open_data(DataConfig(Source.folder, str(sweep.root))).train["file"]
            labels = swapped(files, sweep.share, sweep.seed)
            train_folds(sweep, pd.DataFrame({"file": files, "label": labels}))
        if MENDED in roots:
            train_mended(folder, roots[MENDED], sweep.seed)


def tell(folder: Path, roots: dict[str, Path]) -> None:
    """Print the tables of all sweeps that are done."""
    done = [sweep for sweep in all_sweeps(folder, roots) if is_done(sweep)]
    issues = {sweep: found(sweep) for sweep in done}
    print_rows([row_of(one.name, one.share, some) for one, some in issues.items()])
    if swapped_ones := [some for sweep, some in issues.items() if sweep.share]:
        print(reliability(pd.concat(swapped_ones)).to_markdown(floatfmt=".2f"), end="\n\n")
    print(pd.DataFrame(errors_by_way(folder)).to_markdown(index=False, floatfmt=".4f"))


def print_rows(rows: list[dict[str, object]]) -> None:
    """The means over the seeds, and how far apart the seeds are."""
    table = pd.DataFrame(rows)
    groups = table.groupby(["set", "swapped"], sort=False)
    means = groups.mean().assign(seeds=groups.size())
    print(means.reset_index().to_markdown(index=False, floatfmt=".2f"), end="\n\n")
    spread = groups[[name for name in table if str(name).startswith(("recall", "precision"))]]
    apart = (spread.max() - spread.min()).reset_index()
    print(apart.to_markdown(index=False, floatfmt=".2f"), end="\n\n")


def is_done(sweep: Sweep) -> bool:
    """Whether all folds are."""
    runs = [sweep.place / str(fold) for fold in range(FOLDS)]
    return all(read_summary(run).get("status") == "done" for run in runs)


def reliability(issues: pd.DataFrame) -> pd.DataFrame:
    """How many labels truly are false, by ``wrong``; of the sets with swapped labels."""
    bins = pd.cut(issues["wrong"], [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1], include_lowest=True)
    by_bin = issues.groupby(bins, observed=True)
    return pd.DataFrame(
        {
            "pictures": by_bin.size(),
            "mean of wrong": by_bin["wrong"].mean(),
            "share of false labels": by_bin["false"].mean(),
        }
    )


def errors_by_way(folder: Path) -> list[dict[str, object]]:
    """The error on the pictures that judge, of the seeds that are done."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for seed in SEEDS:
        runs = {way: mended_run(folder, seed, way) for way in WAYS}
        if all(read_summary(run).get("status") == "done" for run in runs.values()):
            for way, run in runs.items():
                said = read_predictions(run / "valid_predictions.csv")
                tables.setdefault(way, []).append(said)
    return against_swapped({way: pd.concat(some) for way, some in tables.items()})


def against_swapped(tables: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    """The error of each way, and how it differs from that of the swapped labels, in pairs."""
    rows = []
    for way, table in tables.items():
        wrong = float((table["label"] != table["predicted"]).mean())
        row: dict[str, object] = {"trained on": way, "error": wrong}
        if way != "swapped":
            less, _, p = paired_repeats(table, tables["swapped"])
            row |= {"against swapped": less, "paired": chance(p)}
        rows.append(row)
    return rows


@quiet()
def main() -> None:
    """Train what is not done, unless only the tables are wanted, and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="+", help="NAME=FOLDER")
    parser.add_argument("--tell", action="store_true", help="train nothing")
    told = parser.parse_args()
    roots = {name: Path(root) for name, _, root in (one.partition("=") for one in told.sets)}
    if "demo" in roots:
        roots["demo"] = generate(roots["demo"], DEMO, 1) / "train_images"
    if not told.tell:
        train_all(told.folder, roots)
    tell(told.folder, roots)


if __name__ == "__main__":
    main()
