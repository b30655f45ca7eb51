"""A comparison as a page, a plot and tables; ``paddy compare``."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from paddy_lightning.atomic import written_whole
from paddy_lightning.command_configs import CompareConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.insight.compare import Comparison, compare, named_runs
from paddy_lightning.lettering import legible, lettering, printable
from paddy_lightning.runs.summary import FINISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
FORMATS = {
    "lr_found": "{:.2e}",
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
    "pictures": "{:.0f}",
    "mean": "{:.4f}",
    "spread": "{:.4f}",
}


def run_compare(config: CompareConfig, run_dir: Path) -> None:
    """``paddy compare``: write the comparison, and print it.

    Raises:
        UserError: No runs there.
    """
    found = compare(named_runs(config.runs))
    write_comparison(found, Path(config.output) if config.output else run_dir)


def write_comparison(found: Comparison, folder: Path) -> None:
    """``comparison.csv``, ``.md`` and ``.png``, and out-of-fold predictions; print the table."""
    from paddy_lightning.insight.figures import draw

    write_table(folder / "comparison.csv", found.runs)
    page = markdown(found)
    with written_whole(folder / "comparison.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
    draw(folder / "comparison.png", lambda: plot(found.runs))
    for name, predictions in found.out_of_fold.items():
        write_table(folder / name, predictions)
    log.info("%s\ncomparison.csv, .md and .png are in %s", page, folder)


def markdown(found: Comparison) -> str:
    """The comparison as a page."""
    lines = [_table(found.runs.drop(columns="against_best")), ""]
    told = found.runs[found.runs["against_best"] != ""]
    if len(told):
        best = printable(found.runs["run"].iloc[0])
        many = f"; p corrected for {len(told)} tests, Holm" if len(told) > 1 else ""
        lines += [f"Against the best, {best}, picture by picture{many}:", ""]
        pairs = zip(told["run"], told["against_best"], strict=True)
        lines += [*(f"- {printable(run)}: {text}" for run, text in pairs), ""]
    if len(found.groups):
        lines += ["Repeated runs of one setting:", "", _table(found.groups), ""]
    if len(found.folds):
        lines += ["Out of fold, every picture by the run that did not train on it:", ""]
        lines += [_table(found.folds), ""]
    return "\n".join(lines)


def plot(runs: pd.DataFrame) -> "Figure":
    """The error rates with their 95 % intervals, best on top."""
    from paddy_lightning.insight.figures import new_figure

    done = runs[runs["status"].isin(FINISHED)].iloc[::-1]
    figure = new_figure(8, 1.2 + 0.32 * max(1, len(done)))
    axes = figure.subplots()
    places, errors = range(len(done)), done["error_rate"]
    beside = [errors - done["error_low"], done["error_high"] - errors]
    axes.errorbar(errors, places, xerr=beside, fmt="o", capsize=3)
    axes.set_yticks(places, [legible(run, 60) for run in done["run"]], **lettering(*done["run"]))
    axes.set(xlabel="error rate, with its 95 % interval", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    return figure


def _table(frame: pd.DataFrame) -> str:
    """In Markdown, with an interval in one column, and without columns that say nothing."""
    shown = frame.copy()
    for name in frame:
        form = FORMATS.get(str(name), "{}")
        shown[name] = [form.format(value) if pd.notna(value) else "" for value in frame[name]]
    if "error_low" in shown:
        interval = shown.pop("error_low") + "-" + shown.pop("error_high")
        place = list(shown.columns).index("error_rate") + 1
        shown.insert(place, "95 %", interval.replace("-", ""))
    shown = shown.loc[:, (shown != "").any()].map(lambda text: printable(text).replace("|", "\\|"))
    page: str = shown.to_markdown(index=False, disable_numparse=True)
    return page
