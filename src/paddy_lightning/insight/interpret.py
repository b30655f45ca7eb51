"""What a run has learned, from its folder alone: who is taken for whom, how sure, and for how long.

Reads ``valid_predictions.csv``, ``metrics.csv``, ``config.yaml`` and, for the pictures with the
highest losses, ``checkpoints/best.ckpt`` and the data set, as far as it is still there.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paddy_lightning.atomic import write_json, written_whole
from paddy_lightning.command_configs import InterpretConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.insight.advice import advice
from paddy_lightning.insight.sizes import BySize, error_by_size
from paddy_lightning.knob import read_path
from paddy_lightning.lettering import printable
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.calibration import calibrate, tempered
from paddy_lightning.runs.evidence import error_interval
from paddy_lightning.runs.run_folder import locked, read_config, read_predictions
from paddy_lightning.runs.summary import FINISHED, read_summary
from paddy_lightning.runs.valid_right import read_right

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
CARD = "interpretation.md"
EDGES = [step / 10 for step in range(11)]  # of the bins of the reliability diagram
TOP_LOSSES = 9
PAIRS_TOLD = 5


@dataclass(frozen=True)
class Interpretation:
    """What ``interpret`` found.

    Attributes:
        summary: ``error_low`` and ``error_high`` (95 % interval of the error rate), ``macro_f1``,
            ``calibration_error``, the ``temperature`` that lowers it, and ``advice``; also in
            ``summary.json``.
        classes: A row a class: ``label, precision, recall, f1, support``.
        confused: A row a confused pair, most frequent first: ``label, predicted, count``.
        matrix: Counts, actual classes down, predicted ones across.
        reliability: A row a bin: ``confidence, accuracy, count``.
        calibrated: Likewise, of what ``paddy predict`` says: divided by the temperature.
        top_losses: The rows of ``valid_predictions.csv`` with the highest losses.
        epochs: The rows of ``metrics.csv``.
        by_size: Errors at larger sizes, where they were asked for and can be had.
    """

    summary: dict[str, Any]
    classes: pd.DataFrame
    confused: pd.DataFrame
    matrix: pd.DataFrame
    reliability: pd.DataFrame
    calibrated: pd.DataFrame
    top_losses: pd.DataFrame
    epochs: pd.DataFrame
    by_size: BySize | None = None


@left_as_found()
def interpret(run: str | Path, sizes: bool = False) -> Interpretation:
    """Work it out, and write tables, figures and a text card to the run folder and TensorBoard.

    Args:
        run: The run folder.
        sizes: Whether to show the network its validation pictures larger, too: two more passes.

    Raises:
        UserError: No finished run there.
    """
    run_dir = Path(read_path(run))
    read_config(run_dir)
    if read_summary(run_dir).get("status") not in FINISHED:
        raise UserError(f"run={run_dir}: is not done; there is nothing to look into yet")
    with locked(run_dir):
        return write_interpretation(run_dir, sizes)


def run_interpret(config: InterpretConfig) -> None:
    """``paddy interpret``: interpret, larger sizes included, and print the card.

    Raises:
        UserError: As ``interpret``.
    """
    if not config.run:
        raise UserError("say which run, with run=RUN_FOLDER")
    interpret(config.run, sizes=True)
    log.info("%s\neverything is in %s", Path(config.run, CARD).read_text("utf-8"), config.run)


def write_interpretation(run_dir: Path, sizes: bool = False) -> Interpretation:
    """As ``interpret``, while the run is going on."""
    from paddy_lightning.insight import figures  # with matplotlib: only now
    from paddy_lightning.insight.grad_cam import picture_top_losses

    found = look_into(run_dir)
    if sizes:
        valid = read_predictions(run_dir / "valid_predictions.csv")
        found = replace(found, by_size=error_by_size(run_dir, valid))
    write_table(run_dir / "classes.csv", found.classes)
    write_table(run_dir / "confused.csv", found.confused)
    card = text_card(run_dir, found)
    with written_whole(run_dir / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")

    def top_losses() -> "Figure | None":
        pictures = picture_top_losses(run_dir, found.top_losses)
        return figures.top_losses(found.top_losses, pictures) if pictures else None

    before, after = found.reliability, found.calibrated
    ways = {
        f"as trained, {calibration_error(before):.3f} from the diagonal": before,
        f"calibrated on these pictures, {calibration_error(after):.3f}": after,
    }
    drawings = {
        "confusion_matrix": lambda: figures.confusion_matrix(found.matrix),
        "reliability": lambda: figures.reliability(ways),
        "learning_curves": lambda: figures.learning_curves(found.epochs),
        "top_losses": top_losses,
    }
    figures.save_figures(run_dir, drawings, text={"interpretation": card})
    if summary := read_summary(run_dir):
        write_json(run_dir / "summary.json", summary | found.summary)
    return found


def look_into(run_dir: Path) -> Interpretation:
    """The numbers alone."""
    valid = read_predictions(run_dir / "valid_predictions.csv")
    class_names = list(valid.columns[5:])
    epochs = pd.read_csv(run_dir / "metrics.csv")
    matrix = pd.crosstab(valid["label"].to_numpy(), valid["predicted"].to_numpy())
    matrix = matrix.reindex(index=class_names, columns=class_names, fill_value=0)
    classes = by_class(matrix)
    wrong = int((valid["label"] != valid["predicted"]).sum())
    low, high = error_interval(wrong, len(valid))
    temperature, shares = calibrated_shares(valid)
    bins, after = reliability(valid), reliability(valid.assign(confidence=shares.max(1)))
    summary = {
        "error_low": low,
        "error_high": high,
        # Over the classes that are there: one without pictures has no F1.
        "macro_f1": float(classes.loc[classes["support"] > 0, "f1"].mean()),
        "calibration_error": calibration_error(bins),
        "temperature": temperature,
        "advice": _what_next(run_dir, epochs),
    }
    top = valid.nlargest(TOP_LOSSES, "loss").reset_index(drop=True)
    return Interpretation(
        summary, classes, confused_pairs(matrix), matrix, bins, after, top, epochs
    )


def _what_next(run_dir: Path, epochs: pd.DataFrame) -> str:
    """``advice``; but a run that was stopped has the best part of its schedule before it."""
    config = read_config(run_dir)
    if len(epochs) < config.epochs + config.freeze_epochs:
        told = f"stopped after {len(epochs)} of {config.epochs + config.freeze_epochs} epochs"
        return f"{told}, before its rates had come down: go on with it (resume=)"
    return advice(epochs, read_right(run_dir), config.freeze_epochs)


def by_class(matrix: pd.DataFrame) -> pd.DataFrame:
    """``label, precision, recall, f1, support``; 0 where there is nothing to divide by."""
    hits, support, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    found = {
        "label": matrix.index,
        "precision": hits / said.clip(lower=1).to_numpy(),
        "recall": hits / support.clip(lower=1).to_numpy(),
        "f1": 2 * hits / (said + support).clip(lower=1).to_numpy(),
        "support": support.to_numpy(),
    }
    return pd.DataFrame(found)


def confused_pairs(matrix: pd.DataFrame) -> pd.DataFrame:
    """``label, predicted, count`` of every pair that occurs, the most frequent first."""
    wrong = matrix.to_numpy() * (1 - np.eye(len(matrix), dtype=int))
    rows, columns = np.nonzero(wrong)
    pairs = {
        "label": matrix.index[rows],
        "predicted": matrix.columns[columns],
        "count": wrong[rows, columns],
    }
    return pd.DataFrame(pairs).sort_values(
        "count", ascending=False, kind="stable", ignore_index=True
    )


def reliability(valid: pd.DataFrame) -> pd.DataFrame:
    """Mean confidence and accuracy of the pictures in each of ten bins of confidence."""
    right = valid["label"] == valid["predicted"]
    bins = pd.cut(valid["confidence"], EDGES, include_lowest=True)
    grouped = valid[["confidence", "loss"]].assign(accuracy=right).groupby(bins, observed=True)
    return grouped.agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), count=("loss", "size")
    ).reset_index(drop=True)


def calibration_error(bins: pd.DataFrame) -> float:
    """The mean gap of the two by pictures: the expected calibration error (Guo et al., 2017)."""
    gap = (bins["confidence"] - bins["accuracy"]).abs()
    return float((gap * bins["count"]).sum() / bins["count"].sum())


def calibrated_shares(valid: pd.DataFrame) -> tuple[float, np.ndarray]:
    """The temperature that fits ``valid_predictions.csv``, and its probabilities divided by it."""
    class_names = list(valid.columns[5:])
    shares = valid[class_names].to_numpy()
    truth = pd.Categorical(valid["label"], class_names).codes
    temperature = calibrate(shares, truth).temperature
    return temperature, tempered(shares, temperature)


def text_card(run_dir: Path, found: Interpretation) -> str:
    """The run on one page, as Markdown."""
    summary = read_summary(run_dir) | found.summary
    valid = int(found.classes["support"].sum())
    interval = f"{summary['error_low']:.4f} to {summary['error_high']:.4f}"
    lines = [
        f"# {summary.get('arch')}",
        "",
        f"error rate **{_error_rate(found):.4f}** (95 %: {interval}, {valid} pictures),"
        f" macro-F1 {summary['macro_f1']:.4f},"
        f" expected calibration error {summary['calibration_error']:.4f}",
        "",
        f"Its confidence is calibrated by a temperature of {summary['temperature']:.2f}, fitted on"
        f" these pictures; then their error is {calibration_error(found.calibrated):.4f}.",
        "",
        *_last_look(summary),
        f"{summary['advice']}.",
        "",
        "most confused (actual, predicted, pictures):",
        "",
    ]
    pairs = found.confused.head(PAIRS_TOLD).itertuples(index=False)
    lines += ["- " + ", ".join(map(printable, pair)) for pair in pairs] or ["- none"]
    if found.by_size:
        lines += ["", "shown larger (in training: the first):", ""]
        lines += [found.by_size.table.to_markdown(index=False, floatfmt=".4f")]
        lines += ["", f"{found.by_size.better}."] if found.by_size.better else []
    return "\n".join([*lines, "", f"`{printable(summary.get('command'))}`", ""])


def _last_look(summary: dict[str, Any]) -> list[str]:
    """What ``test=`` found, apart."""
    if summary.get("test_error_rate") is None:
        return []
    interval = f"{summary['test_error_low']:.4f} to {summary['test_error_high']:.4f}"
    return [
        f"On {summary['num_test']} pictures that were looked at once, at the end: error rate"
        f" **{summary['test_error_rate']:.4f}** (95 %: {interval}). This is the number to tell"
        " others: what was tried and kept by the validation pictures, be it an epoch, a knob or the"
        " temperature, fits them a little better than any others.",
        "",
    ]


def _error_rate(found: Interpretation) -> float:
    counts = found.matrix.to_numpy()
    return float(1 - np.trace(counts) / counts.sum())
