"""Run folders -> one table, one plot, and sentences on what the numbers can tell."""

import logging
import re
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from paddy_lightning.atomic import written_whole
from paddy_lightning.config import CompareConfig, TrainConfig, plain
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.interpret import error_interval, read_predictions
from paddy_lightning.run_folder import read_summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
LEVEL = 0.05  # a smaller p says that two runs differ
NO_KNOBS = {"seed", "fold", "resume", "num_workers"}  # repeats of the same experiment
FORMATS = {  # of the results, in their order
    "error_rate": "{:.4f}",
    "error_low": "{:.4f}",
    "error_high": "{:.4f}",
    "tta_error_rate": "{:.4f}",
    "valid_loss": "{:.4f}",
    "macro_f1": "{:.4f}",
    "seconds": "{:.0f}",
    "images_per_second": "{:.1f}",
    "peak_memory_mb": "{:.0f}",
    "num_parameters": "{:,.0f}",
    "status": "{}",
    "reason": "{}",
}


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
        runs: A row a run, best first: ``run``, the knobs that differ, the results (``error_rate``
            with its 95 % interval, ``tta_error_rate``, ``valid_loss``, ``macro_f1``, ``seconds``,
            ``images_per_second``, ``peak_memory_mb``, ``num_parameters``, ``status``, ``reason``)
            and ``against_best``, a sentence.
        groups: A row a setting that was repeated with other seeds or folds: its knobs, ``runs``,
            and the ``mean``, ``spread`` (standard deviation) of the error rates.
        out_of_fold: By the name of a setting whose folds are complete, the predictions of every
            picture by the run that did not train on it.
    """

    runs: pd.DataFrame
    groups: pd.DataFrame
    out_of_fold: dict[str, pd.DataFrame]


def run_compare(config: CompareConfig, run_dir: Path) -> None:
    """``compare.py``: write the comparison, and print it.

    Raises:
        UserError: No runs there.
    """
    if not config.runs:
        raise UserError("say which runs, with runs=SWEEP_FOLDER or runs=[RUN,RUN]")
    named = config.runs if isinstance(config.runs, list) else [config.runs]
    folders = [folder for name in named for folder in find_runs(Path(str(name)))]
    write_comparison(compare(folders), Path(config.output) if config.output else run_dir)


def find_runs(folder: Path) -> list[Path]:
    """A run folder, or all runs right below a folder.

    Raises:
        UserError: There are none.
    """
    if (folder / "summary.json").is_file():
        return [folder]
    found = sorted((path.parent for path in folder.glob("*/summary.json")), key=_natural)
    if not found:
        raise UserError(f"runs={folder}: no run there (no summary.json)")
    return found


def compare(folders: list[Path]) -> Comparison:
    """Compare runs by their folders alone.

    Raises:
        UserError: None of them is a run.
    """
    knobs = pd.DataFrame([read_knobs(folder) for folder in folders])
    differing = [str(name) for name in knobs if knobs[name].nunique(dropna=False) > 1]
    results = pd.DataFrame([read_summary(folder) for folder in folders]).reindex(
        columns=list(FORMATS)
    )
    runs = pd.concat([knobs[differing], results], axis=1)
    runs.insert(0, "run", [folder.name for folder in folders])
    runs["folder"] = pd.Series(folders, dtype=object)
    runs = runs.sort_values(["error_rate", "valid_loss"], ignore_index=True)
    predictions = {
        folder: read_predictions(folder / "valid_predictions.csv")
        for folder in runs.loc[runs["status"] == "done", "folder"]
    }
    runs["against_best"] = [_against_best(folder, predictions) for folder in runs["folder"]]
    settings = [name for name in differing if name not in NO_KNOBS]
    groups = _group(runs, settings)
    out_of_fold = _out_of_fold(runs, settings, knobs, predictions) if "fold" in differing else {}
    return Comparison(runs.drop(columns="folder"), groups, out_of_fold)


def read_knobs(folder: Path) -> dict[str, str]:
    """The knobs of a run as text, nested ones dotted; what Hydra kept where no run came of it."""
    for path in (folder / "config.yaml", folder / ".hydra" / "config.yaml"):
        if path.is_file():
            known = {field.name for field in fields(TrainConfig)}
            told = yaml.safe_load(path.read_text())
            told = {name: told[name] for name in told if name in known}
            with suppress(UserError):  # a refused value stays as it was typed
                told = plain(TrainConfig(**told))
            return {name: _text(value) for name, value in _flat(told)}
    return {}


def paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[int, int, float]:
    """McNemar's exact test on the pictures of two runs.

    Args:
        first: ``valid_predictions.csv`` of one run.
        second: That of another, on the same pictures.

    Returns:
        How many pictures only the first got right, how many only the second, and the two-sided p
        of so uneven a share if both were equally good (McNemar, 1947; the exact form is a binomial
        test of the pictures they disagree on).
    """
    from scipy.stats import binomtest

    both = first.merge(second, on="file", suffixes=("_1", "_2"))
    right_1, right_2 = (both[f"label_{n}"] == both[f"predicted_{n}"] for n in (1, 2))
    only_first, only_second = int((right_1 & ~right_2).sum()), int((right_2 & ~right_1).sum())
    disagreed = only_first + only_second
    p = binomtest(only_first, disagreed).pvalue if disagreed else 1.0
    return only_first, only_second, float(p)


def sentence(best: pd.DataFrame, other: pd.DataFrame) -> str:
    """Worse than the best, or cannot tell, and from how many pictures."""
    pictures = [set(zip(run["file"], run["label"], strict=True)) for run in (best, other)]
    if pictures[0] != pictures[1]:
        return "validated on other pictures: not comparable one by one"
    ours, theirs, p = paired(other, best)
    chance = f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
    counts = f"{theirs} pictures only the best gets right, {ours} only this ({chance})"
    if p < LEVEL:
        return f"worse: {counts}"
    return f"cannot tell with {len(best)} pictures: {counts}"


def write_comparison(found: Comparison, folder: Path) -> None:
    """``comparison.csv``, ``.md`` and ``.png``, and out-of-fold predictions; print the table."""
    write_table(folder / "comparison.csv", found.runs)
    page = markdown(found)
    with written_whole(folder / "comparison.md") as temporary:
        temporary.write_text(page)
    with written_whole(folder / "comparison.png") as temporary:
        plot(found.runs).savefig(temporary, format="png")
    for name, predictions in found.out_of_fold.items():
        write_table(folder / f"out_of_fold{name}.csv", predictions)
    log.info("%s\ncomparison.csv, .md and .png are in %s", page, folder)


def markdown(found: Comparison) -> str:
    """The comparison as a page."""
    shown = found.runs.drop(columns="against_best")
    for name, form in FORMATS.items():
        shown[name] = [form.format(value) if pd.notna(value) else "" for value in shown[name]]
    interval = shown.pop("error_low") + "-" + shown.pop("error_high")
    shown.insert(list(shown.columns).index("error_rate") + 1, "95 %", interval.replace("-", ""))
    shown = shown.loc[:, (shown != "").any()]
    lines = [_table(shown), ""]
    told = found.runs[found.runs["against_best"] != ""]
    if len(told):
        lines += [f"Against the best, {found.runs['run'].iloc[0]}, picture by picture:", ""]
        pairs = zip(told["run"], told["against_best"], strict=True)
        lines += [*(f"- {run}: {text}" for run, text in pairs), ""]
    if len(found.groups):
        lines += ["Repeated runs of one setting:", "", _table(found.groups.round(4)), ""]
    for name, predictions in found.out_of_fold.items():
        wrong = int((predictions["label"] != predictions["predicted"]).sum())
        low, high = error_interval(wrong, len(predictions))
        rate = f"{wrong / len(predictions):.4f} (95 %: {low:.4f} to {high:.4f})"
        lines += [f"out_of_fold{name}.csv: error {rate} of all {len(predictions)} pictures", ""]
    return "\n".join(lines)


def plot(runs: pd.DataFrame) -> "Figure":
    """The error rates with their 95 % intervals, best on top."""
    from paddy_lightning.figures import new_figure

    done = runs[runs["status"] == "done"].iloc[::-1]
    figure = new_figure(8, 1.2 + 0.32 * max(1, len(done)))
    axes = figure.subplots()
    if len(done):
        below, above = (
            done["error_rate"] - done["error_low"],
            done["error_high"] - done["error_rate"],
        )
        axes.errorbar(done["error_rate"], done["run"], xerr=[below, above], fmt="o", capsize=3)
    axes.set(xlabel="error rate, with its 95 % interval", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    return figure


def _against_best(folder: Path, predictions: dict[Path, pd.DataFrame]) -> str:
    best = next(iter(predictions), folder)
    if folder not in predictions or folder == best:
        return ""
    return sentence(predictions[best], predictions[folder])


def _group(runs: pd.DataFrame, settings: list[str]) -> pd.DataFrame:
    done = runs[runs["status"] == "done"]
    if not settings:
        done, settings = done.assign(setting="all"), ["setting"]
    errors = done.groupby(settings, dropna=False)["error_rate"]
    groups = errors.agg(runs="size", mean="mean", spread="std").reset_index()
    return groups[groups["runs"] > 1].sort_values("mean", ignore_index=True)


def _out_of_fold(
    runs: pd.DataFrame,
    settings: list[str],
    knobs: pd.DataFrame,
    predictions: dict[Path, pd.DataFrame],
) -> dict[str, pd.DataFrame]:
    folds = int(knobs["folds"].iloc[0])
    done = runs[runs["status"] == "done"]
    if not settings:
        done = done.assign(setting="all")
    found = {}
    for number, (_, group) in enumerate(done.groupby(settings or ["setting"], dropna=False)):
        one_each = group.drop_duplicates("fold")
        if len(one_each) == folds:
            parts = [predictions[folder] for folder in one_each["folder"]]
            name = f"_{number}" if settings else ""
            found[name] = pd.concat(parts).sort_values("file", ignore_index=True)
    return found


def _table(frame: pd.DataFrame) -> str:
    page: str = frame.to_markdown(index=False, disable_numparse=True)
    return page


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, item in value.items():
        inner = isinstance(item, dict) and item
        flat += _flat(item, f"{prefix}{name}.") if inner else [(f"{prefix}{name}", item)]
    return flat


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
