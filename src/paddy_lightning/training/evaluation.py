"""The best checkpoint of a run on its validation pictures: errors, and what it may promise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from paddy_lightning.choices import Tta
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.shown import Shown
from paddy_lightning.network.answers import traits_of
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import Network
from paddy_lightning.prediction.table import predictions_table
from paddy_lightning.prediction.tta import join_views
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.runs.calibration import SMALLEST, calibrate
from paddy_lightning.runs.familiarity import AT_LEAST, AT_MOST, remember
from paddy_lightning.runs.summary import Summary
from paddy_lightning.runs.trainer import ANY_DEVICE
from paddy_lightning.training.checkpoints import WholeFiles


def evaluate_best(
    best: Path,
    module: Classifier,
    datamodule: PaddyDataModule,
    table: pd.DataFrame,
    run_dir: Path,
    precision: str,
    device: Mapping[str, Any],
    tta: bool,
) -> Summary:
    """``evaluate`` of the best checkpoint, and its epoch; it learns what it may promise.

    Args:
        best: The checkpoint.
        module: Takes its weights.
        datamodule: Of the pictures.
        table: The pictures, split.
        run_dir: The run folder.
        precision: As in training.
        device: Lightning's ``accelerator`` and ``devices`` for one of them.
        tta: Whether the datamodule gives augmented views as well.
    """
    checkpoint = torch.load(best, weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    views = predict_views(module.model, datamodule.shown(), precision, device).numpy()
    class_names = checkpoint["hyper_parameters"]["class_names"]
    valid = table[table["is_valid"]]
    found = evaluate(valid, views, class_names, tta, run_dir)
    checkpoint["calibration"] = calibrations(valid, views, class_names, tta)
    checkpoint["familiarity"] = remembered(module.model, datamodule.shown(), precision, device)
    WholeFiles().save_checkpoint(checkpoint, best)
    return found | {"kept_epoch": checkpoint["epoch"] + 1}


def calibrations(
    table: pd.DataFrame, views: np.ndarray, class_names: list[str], tta: bool
) -> dict[str, dict[str, Any]]:
    """How sure a network may be, by each way to join its views; arguments as for ``evaluate``."""
    truth = pd.Categorical(table["label"], class_names).codes.astype("int64")
    ways = (Tta.off, Tta.mean) if tta else (Tta.off,)
    return {str(way): calibrate(join_views(views, way), truth)._asdict() for way in ways}


def remembered(
    network: nn.Module, shown: Shown, precision: str, device: Mapping[str, Any] = ANY_DEVICE
) -> dict[str, Any] | None:
    """What a network is to remember of the pictures that validated it; of many, evenly chosen."""
    if len(shown.rows) < AT_LEAST or not (isinstance(network, Network) and network.has_traits):
        return None
    chosen = np.linspace(0, len(shown.rows) - 1, min(len(shown.rows), AT_MOST)).round().astype(int)
    some = shown._replace(rows=shown.rows[chosen], tta=0)
    found = remember(predict_views(network, some, precision, device, traits_of)[:, 0])
    return found and found._asdict()


def evaluate(
    table: pd.DataFrame, views: np.ndarray, class_names: list[str], tta: bool, run_dir: Path | None
) -> Summary:
    """Error and loss on the validation pictures, and ``valid_predictions.csv``.

    Args:
        table: The validation rows.
        views: float32 [N, views, num_classes], probabilities of these rows, the plain view last.
        class_names: In the order of the probabilities.
        tta: Whether there are augmented views to join.
        run_dir: The run folder; None writes nothing.
    """
    truth = torch.tensor(pd.Categorical(table["label"], class_names).codes.astype("int64"))
    plain_view = join_views(views, Tta.off)
    shares = torch.from_numpy(plain_view).clamp_min(SMALLEST)
    losses = F.nll_loss(shares.log(), truth, reduction="none")
    if run_dir is not None:
        judged = judged_table(table, plain_view, losses.numpy(), class_names)
        write_table(run_dir / "valid_predictions.csv", judged)

    def error_rate(way: Tta) -> float:
        told = torch.from_numpy(join_views(views, way).argmax(1))
        return float((told != truth).float().mean())

    return {
        "error_rate": error_rate(Tta.off),
        "valid_loss": float(losses.mean()),
        "tta_error_rate": error_rate(Tta.mean) if tta else None,
    }


def judged_table(
    table: pd.DataFrame, probabilities: np.ndarray, losses: np.ndarray, class_names: list[str]
) -> pd.DataFrame:
    """``file, label, predicted, confidence, loss``, and the probability of every class.

    Args:
        table: ``file`` and ``label``.
        probabilities: float32 [N, num_classes]; NaN for a file that could not be read.
        losses: float [N].
        class_names: In the order of the probabilities.
    """
    frame = predictions_table(table["file"], probabilities, class_names)
    frame = frame.rename(columns={"label": "predicted"})
    frame.insert(1, "label", table["label"].to_numpy())
    frame.insert(4, "loss", losses)
    return frame
