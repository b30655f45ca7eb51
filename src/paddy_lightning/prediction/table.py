"""Probabilities as a table of predictions."""

import numpy as np
import pandas as pd


def predictions_table(
    files: pd.Series, probabilities: np.ndarray, class_names: list[str]
) -> pd.DataFrame:
    """The columns ``file, label, confidence`` and one a class; no label without probabilities."""
    confidence, best = probabilities.max(1), probabilities.argmax(1)
    head = {
        "file": files.to_numpy(),
        "label": np.where(np.isnan(confidence), "", np.array(class_names)[best]),
        "confidence": confidence,
    }
    columns = pd.DataFrame(probabilities, columns=class_names)
    return pd.concat([pd.DataFrame(head), columns], axis=1)


def best_of(probabilities: np.ndarray) -> list[int]:
    """The number of the likeliest class of each row; -1 without probabilities."""
    unread = np.isnan(probabilities).any(1)
    numbers: list[int] = np.where(unread, -1, probabilities.argmax(1)).tolist()
    return numbers
