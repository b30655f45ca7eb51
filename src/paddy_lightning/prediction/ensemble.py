"""Several networks as one: the weighted mean of their probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.errors import UserError
from paddy_lightning.runs.calibration import tempered
from paddy_lightning.runs.run_folder import read_predictions, short_names


def shares(weights: Sequence[float] | None, members: int) -> list[float]:
    """What each member counts for, summing to 1; all the same unless weights are given.

    Raises:
        UserError: Not one positive weight a member.
    """
    weights = [1.0] * members if weights is None else [float(weight) for weight in weights]
    if len(weights) != members or min(weights) <= 0:
        raise UserError(
            f"ensemble_weights={weights}: give {members} positive numbers, one a member"
        )
    return [weight / sum(weights) for weight in weights]


def join_members(
    probabilities: Sequence[np.ndarray], weights: Sequence[float], temperatures: Sequence[float]
) -> np.ndarray:
    """The mean of what each says, calibrated: float [N, num_classes].

    Args:
        probabilities: Of each, float [N, num_classes].
        weights: What each counts for.
        temperatures: By which the logits of each are divided.
    """
    each = zip(probabilities, weights, temperatures, strict=True)
    told = [divided(p, temperature) * weight for p, weight, temperature in each]
    joined: np.ndarray = np.stack(told).sum(0)
    return joined


def divided(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """``calibration.tempered``: float32 [N, num_classes]; by 1, the very same."""
    if temperature == 1:
        return probabilities
    return tempered(probabilities, temperature)


def check_members(facts: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Refuse members that tell other classes apart.

    Args:
        facts: Of each.
        names: Likewise, for what is told.

    Raises:
        UserError: Names the first that differs.
    """
    first = facts[0]["class_names"]
    for one, name in zip(facts, names, strict=True):
        classes = one["class_names"]
        if classes != first:
            raise UserError(f"ckpt={name}: tells {classes} apart, and {names[0]} {first}")


def validation_errors(
    runs: Sequence[Path], weights: Sequence[float], temperatures: Sequence[float]
) -> pd.DataFrame:
    """Errors of the members and of the whole on the pictures that none of them trained on.

    From the runs' ``valid_predictions.csv``, without test-time augmentation.

    Returns:
        A row a member and a last one for the ensemble: ``run, pictures, error_rate``; no rows
        where no picture validated all of them, as with folds.
    """
    common, members = validated_by_all(runs)
    if common.empty:
        return pd.DataFrame(columns=["run", "pictures", "error_rate"])
    truth = common["class"].to_numpy()
    said = [one.argmax(1) for one in (*members, join_members(members, weights, temperatures))]
    names = [*short_names(runs), "ensemble"]
    errors = [float((labels != truth).mean()) for labels in said]
    return pd.DataFrame({"run": names, "pictures": len(common), "error_rate": errors})


def validated_by_all(runs: Sequence[Path]) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The pictures that validated every run, and what each says of them.

    Returns:
        ``file, label, class``, a row a picture; and float64 [N, num_classes] of each run.

    Raises:
        UserError: A folder is no run's.
    """
    key = ["file", "label"]  # the same name under another label is another picture
    tables = [read_predictions(run / "valid_predictions.csv").set_index(key) for run in runs]
    rows = sorted(set.intersection(*(set(table.index) for table in tables)))
    tables = [table.loc[rows].reset_index() for table in tables]
    class_names = list(tables[0].columns[5:])
    codes = pd.Categorical(tables[0]["label"], class_names).codes.astype("int64")
    members = [table[class_names].to_numpy() for table in tables]
    return tables[0][key].assign(**{"class": codes}), members
