"""What a run has learned, from its folder alone: who is taken for whom, how sure, and for how long.

Reads ``valid_predictions.csv``, ``metrics.csv``, ``config.yaml`` and, for the pictures with the
highest losses, ``checkpoints/best.ckpt`` and the data set, as far as it is still there.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.atomic import write_json, written_whole
from paddy_lightning.config import InterpretConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.run_folder import locked, read_config, read_summary

log = logging.getLogger(__name__)
CONFIDENCE = 0.95  # of the interval around an error rate
CARD = "interpretation.md"
EDGES = [step / 10 for step in range(11)]  # of the bins of the reliability diagram
TOP_LOSSES = 9
PAIRS_TOLD = 5


@dataclass(frozen=True)
class Interpretation:
    """What ``interpret`` found.

    Attributes:
        summary: ``error_low`` and ``error_high`` (95 % interval of the error rate), ``macro_f1``,
            ``calibration_error`` and ``advice``; also in ``summary.json``.
        classes: A row a class: ``label, precision, recall, f1, support``.
        confused: A row a confused pair, most frequent first: ``label, predicted, count``.
        matrix: Counts, actual classes down, predicted ones across.
        reliability: A row a bin: ``confidence, accuracy, count``.
        top_losses: The rows of ``valid_predictions.csv`` with the highest losses.
        epochs: The rows of ``metrics.csv``.
    """

    summary: dict[str, Any]
    classes: pd.DataFrame
    confused: pd.DataFrame
    matrix: pd.DataFrame
    reliability: pd.DataFrame
    top_losses: pd.DataFrame
    epochs: pd.DataFrame


def interpret(run: str | Path) -> Interpretation:
    """Work it out, and write tables, figures and a text card to the run folder and TensorBoard.

    Raises:
        UserError: No finished run there.
    """
    run_dir = Path(run)
    read_config(run_dir)
    if read_summary(run_dir).get("status") != "done":
        raise UserError(f"run={run_dir}: is not done; there is nothing to look into yet")
    with locked(run_dir):
        return write_interpretation(run_dir)


def run_interpret(config: InterpretConfig) -> None:
    """``interpret.py``: interpret, and print the card.

    Raises:
        UserError: As ``interpret``.
    """
    if not config.run:
        raise UserError("say which run, with run=RUN_FOLDER")
    interpret(config.run)
    log.info("%s\neverything is in %s", Path(config.run, CARD).read_text(), config.run)


def write_interpretation(run_dir: Path) -> Interpretation:
    """As ``interpret``, while the run is going on."""
    from paddy_lightning import figures  # with matplotlib: only now
    from paddy_lightning.grad_cam import picture_top_losses

    found = look_into(run_dir)
    write_table(run_dir / "classes.csv", found.classes)
    write_table(run_dir / "confused.csv", found.confused)
    card = text_card(run_dir, found)
    with written_whole(run_dir / CARD) as temporary:
        temporary.write_text(card)
    drawn = {
        "confusion_matrix": figures.confusion_matrix(found.matrix),
        "reliability": figures.reliability(found.reliability, found.summary["calibration_error"]),
        "learning_curves": figures.learning_curves(found.epochs),
    }
    pictures = picture_top_losses(run_dir, found.top_losses)
    if pictures:
        drawn["top_losses"] = figures.top_losses(found.top_losses, pictures)
    figures.save_figures(run_dir, drawn, text={"interpretation": card})
    if summary := read_summary(run_dir):
        write_json(run_dir / "summary.json", summary | found.summary)
    return found


def look_into(run_dir: Path) -> Interpretation:
    """The numbers alone."""
    valid = read_predictions(run_dir / "valid_predictions.csv")
    class_names = list(valid.columns[5:])
    epochs = pd.read_csv(run_dir / "metrics.csv")
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    counts = confusion_matrix(valid["label"], valid["predicted"], labels=class_names)
    matrix = pd.DataFrame(counts, class_names, class_names)
    columns = precision_recall_fscore_support(
        valid["label"], valid["predicted"], labels=class_names, zero_division=0
    )
    classes = pd.DataFrame(
        dict(zip(("precision", "recall", "f1", "support"), columns, strict=True))
    )
    classes.insert(0, "label", class_names)
    wrong = int((valid["label"] != valid["predicted"]).sum())
    low, high = error_interval(wrong, len(valid))
    bins = reliability(valid)
    gap = (bins["confidence"] - bins["accuracy"]).abs()
    summary = {
        "error_low": low,
        "error_high": high,
        # Over the classes that are there: one without pictures has no F1.
        "macro_f1": float(classes.loc[classes["support"] > 0, "f1"].mean()),
        "calibration_error": float((gap * bins["count"]).sum() / len(valid)),
        "advice": advice(epochs, read_config(run_dir).freeze_epochs, len(valid)),
    }
    top = valid.nlargest(TOP_LOSSES, "loss").reset_index(drop=True)
    return Interpretation(summary, classes, confused_pairs(matrix), matrix, bins, top, epochs)


def read_predictions(path: Path) -> pd.DataFrame:
    """``valid_predictions.csv`` of a run.

    Raises:
        UserError: There is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there; has the run come to its end?")
    names = dict.fromkeys(("file", "label", "predicted"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False, encoding_errors="surrogateescape")


def error_interval(wrong: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error rate, honest for few pictures and for rates near 0."""
    from scipy.stats import binomtest

    interval = binomtest(wrong, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


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
    """Mean confidence and accuracy of the pictures in each of ten bins of confidence.

    Their mean gap, by pictures, is the expected calibration error (Guo et al., 2017).
    """
    right = valid["label"] == valid["predicted"]
    bins = pd.cut(valid["confidence"], EDGES, include_lowest=True)
    grouped = valid[["confidence", "loss"]].assign(accuracy=right).groupby(bins, observed=True)
    return grouped.agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), count=("loss", "size")
    ).reset_index(drop=True)


def advice(epochs: pd.DataFrame, freeze_epochs: int, num_valid: int) -> str:
    """One line on "how long to train?", from the epochs after the frozen ones.

    Two errors count as different when they lie more than one standard error of the better one
    apart, ``sqrt(e (1 - e) / num_valid)``, and by one picture at least. In this order:

    1. fewer than three such epochs: too few to tell;
    2. the last error is worse than the best: retrain from scratch with fewer epochs;
    3. the last third brought an error better than any before it: still improving, train longer;
    4. the last loss is more than 5 % above the lowest: the network grows too sure of itself, but
       the error is what counts: fine;
    5. otherwise it has levelled off.
    """
    unfrozen = epochs.iloc[freeze_epochs:].reset_index(drop=True)
    if len(unfrozen) < 3:
        return "too few epochs to tell whether longer would help"
    error, loss = unfrozen["error_rate"], unfrozen["valid_loss"]
    best = float(error.min())
    margin = max(math.sqrt(best * (1 - best) / num_valid), 1 / num_valid)
    last_third = len(error) - math.ceil(len(error) / 3)
    if error.iloc[-1] > best + margin:
        count = int(error.to_numpy().argmin()) + 1
        return f"the error grew again after {count} unfrozen epochs: retrain with epochs={count}"
    if error.iloc[last_third:].min() < error.iloc[:last_third].min() - margin:
        return "the error was still falling at the end: train longer"
    if loss.iloc[-1] > 1.05 * loss.min():
        return "the loss rose at the end but the error did not: fine as it is"
    return "the error has levelled off: longer training is unlikely to help"


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
        f"{summary['advice']}.",
        "",
        "most confused (actual, predicted, pictures):",
        "",
    ]
    pairs = found.confused.head(PAIRS_TOLD).itertuples(index=False)
    lines += [f"- {label}, {predicted}, {count}" for label, predicted, count in pairs] or ["- none"]
    return "\n".join([*lines, "", f"`{summary.get('command')}`", ""])


def _error_rate(found: Interpretation) -> float:
    counts = found.matrix.to_numpy()
    return float(1 - np.trace(counts) / counts.sum())
