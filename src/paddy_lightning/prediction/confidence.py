"""How sure predictions may be: by a temperature, of one network or several, and sets of classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from paddy_lightning.choices import Tta
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.ensemble import join_members, validated_by_all
from paddy_lightning.prediction.members import Member
from paddy_lightning.runs.calibration import (
    Calibration,
    bound,
    calibrate,
    candidates,
)

CANDIDATES, SURE = "candidates", "sure"
BETWEEN = " | "  # candidates


class Confidence(NamedTuple):
    """What is known of how sure a prediction may be.

    Attributes:
        temperature: Of several networks together, each of them calibrated by its own before.
        calibration: What sets can be made by; None where nothing was validated just so.
    """

    temperature: float
    calibration: Calibration | None


def confidence_of(members: Sequence[Member], weights: Sequence[float], tta: Tta) -> Confidence:
    """Of one network its own; of several by the pictures that validated each of them, if any."""
    if len(members) == 1:
        return Confidence(1, members[0].calibration)
    if tta is Tta.off and all(member.calibration for member in members):
        try:
            common, shares = validated_by_all([member.folder for member in members])
        except UserError:  # a checkpoint file without its run
            common, shares = pd.DataFrame(), []
        if len(common):
            temperatures = [member.temperature for member in members]
            joined = join_members(shares, weights, temperatures)
            found = calibrate(joined, common["class"].to_numpy())
            return Confidence(found.temperature, found)
    return Confidence(1, None)


def bound_of(confidence: Confidence, class_names: list[str], coverage: float) -> float:
    """How probable a candidate must be, before any picture is predicted.

    Raises:
        UserError: Nothing, or too little, was validated just so; or a class is called as a column.
    """
    if not 0 < coverage < 1:
        raise UserError(f"coverage={coverage:g}: is a share between 0 and 1, such as .95")
    if clash := {CANDIDATES, SURE}.intersection(class_names):
        raise UserError(f"coverage: a class is called {min(clash)}, as a column would be")
    if confidence.calibration is None:
        raise UserError(
            f"coverage={coverage:g}: the network was not validated just so; predict without"
            " tta=, size= and further members, or train with tta=true for tta=mean"
        )
    return bound(confidence.calibration, coverage)


def add_candidates(
    predictions: pd.DataFrame, class_names: list[str], least: float
) -> tuple[pd.DataFrame, list[int]]:
    """The columns ``candidates``, the likeliest first, and ``sure``, where there is but one.

    Args:
        predictions: As ``predictions_table`` returns them.
        class_names: The columns of probabilities.
        least: As ``bound_of`` returns it.

    Returns:
        The table, and how many candidates each row has; 0 where a file could not be read.
    """
    shares = predictions[class_names].to_numpy("float32")
    read = ~np.isnan(shares).any(1)
    sets = candidates(shares, least) & read[:, None]
    order = np.argsort(-shares, axis=1, kind="stable")
    names = np.array(class_names, dtype=object)
    told = [BETWEEN.join(names[best[of[best]]]) for best, of in zip(order, sets, strict=True)]
    sizes = sets.sum(1)
    sure = np.where(read, sizes == 1, None)
    predictions = predictions.copy()
    for place, (name, column) in enumerate({CANDIDATES: told, SURE: sure}.items(), start=3):
        predictions.insert(place, name, column)
    return predictions, sizes.tolist()
