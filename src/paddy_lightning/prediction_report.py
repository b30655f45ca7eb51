"""What the terminal is told of predictions: where their labels are known, how many are right."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from paddy_lightning.config import PredictConfig, Tta
from paddy_lightning.ensemble import validation_errors
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)


def report(
    predictions: pd.DataFrame, plain: Tensor, config: PredictConfig, class_names: list[str]
) -> None:
    """Tell the terminal: the top three of a single picture, the errors where labels are at hand."""
    if len(predictions) == 1:
        top = predictions[class_names].iloc[0].nlargest(3)
        log.info(
            "%s: %s", predictions.loc[0, "file"], "  ".join(f"{n} {p:.4f}" for n, p in top.items())
        )
    folders = predictions["file"].str.split("/").str[0]
    if config.images is None or not folders.isin(class_names).all():
        return
    without_tta = np.array(class_names)[plain.argmax(1).numpy()]
    log.info("error_rate %.4f", (without_tta != folders).mean())
    if config.tta is not Tta.off:
        error = (predictions["label"] != folders).mean()
        log.info("error_rate with tta=%s %.4f", config.tta, error)


def report_members(runs: list[Path], weights: list[float]) -> None:
    """Tell what each member and the whole get wrong of the pictures that none trained on."""
    try:
        errors = validation_errors(runs, weights)
    except UserError as error:  # a checkpoint file without its run
        log.info("no validation errors of the members: %s", error)
        return
    if errors.empty:
        log.info("no picture validated all members; their errors cannot be compared")
        return
    log.info("on the %d pictures that validated all members:", errors["pictures"].iloc[0])
    for row in errors.itertuples():
        log.info("  %s  error_rate %.4f", row.run, row.error_rate)
