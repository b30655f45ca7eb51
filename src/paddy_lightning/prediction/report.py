"""What the terminal is told of predictions: where their labels are known, how many are right."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from paddy_lightning.choices import Tta
from paddy_lightning.errors import UserError
from paddy_lightning.lettering import printable
from paddy_lightning.prediction.ensemble import validation_errors

log = logging.getLogger(__name__)
NAMED = 5


def report_top(predictions: pd.DataFrame, class_names: list[str]) -> None:
    """Tell the three likeliest classes of a single picture that could be read."""
    top = predictions[class_names].iloc[0].dropna().nlargest(3)
    if len(top):
        told = "  ".join(f"{printable(name)} {share:.4f}" for name, share in top.items())
        log.info("%s: %s", printable(predictions.loc[0, "file"]), told)


def report_candidates(sizes: list[int]) -> None:
    """Tell of how many pictures one class is left, and how many on average."""
    read = [size for size in sizes if size]
    if read:
        log.info(
            "sure of %d of %d pictures; %.2f candidates on average",
            *(read.count(1), len(read), sum(read) / len(read)),
        )


def report_unfamiliar(files: pd.Series) -> None:
    """Tell which pictures are of another kind, the first of them by name."""
    if len(files):
        some = ", ".join(map(printable, files[:NAMED]))
        more = ", ..." if len(files) > NAMED else ""
        log.warning("%d pictures are unlike those of the validation: %s%s", len(files), some, more)


def report_errors(
    predictions: pd.DataFrame,
    without_tta: pd.Series,
    tta: Tta,
    class_names: list[str],
    trained: np.ndarray,
) -> None:
    """Tell the errors where pictures lie in folders of their classes, and what they are worth.

    Args:
        predictions: As ``predict`` returns them.
        without_tta: The labels without test-time augmentation.
        tta: How the predictions were made.
        class_names: That the network knows.
        trained: bool [N], which pictures it trained on.
    """
    read = predictions["label"] != ""
    folders = predictions["file"].str.split("/").str[0]
    ways = {"error_rate": without_tta}
    if tta is not Tta.off:
        ways[f"error_rate with tta={tta}"] = predictions["label"]
    judged = bool(folders.isin(class_names).all() and read.any())
    if judged:
        for way, labels in ways.items():
            log.info("%s %.4f", way, (labels != folders)[read].mean())
        if not read.all():
            log.info("  of the %d that can be read; %d cannot", read.sum(), (~read).sum())
    if not trained.any():
        return
    log.warning(
        "%d of the %d pictures are, by their paths, among those it trained on%s",
        *(trained.sum(), len(trained), "; their error is too good" if judged else ""),
    )
    others = read & ~trained
    if judged and others.any():
        for way, labels in ways.items():
            log.info(
                "%s %.4f of the other %d", way, (labels != folders)[others].mean(), others.sum()
            )


def report_members(runs: list[Path], weights: list[float], temperatures: list[float]) -> None:
    """Tell what each member and the whole get wrong of the pictures that none trained on."""
    try:
        errors = validation_errors(runs, weights, temperatures)
    except UserError as error:  # a checkpoint file without its run
        log.info("no validation errors of the members: %s", error)
        return
    if errors.empty:
        log.info("no picture validated all members; their errors cannot be compared")
        return
    log.info("on the %d pictures that validated all members:", errors["pictures"].iloc[0])
    for row in errors.itertuples():
        log.info("  %s  error_rate %.4f", printable(row.run), row.error_rate)
