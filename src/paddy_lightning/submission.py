"""Predictions -> the CSV file that Kaggle takes."""

import logging
from pathlib import Path

import pandas as pd

from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)


def submission(predictions: pd.DataFrame, sample: Path) -> pd.DataFrame:
    """The sample's ids, in its order, each with our label.

    A picture that could not be read gets the commonest label: a submission wants every row.

    Raises:
        UserError: The pictures are not those of the sample.
    """
    ids = pd.read_csv(sample, dtype=str)
    id_column, label_column = ids.columns[:2]
    labels = predictions.set_index(predictions["file"].str.split("/").str[-1])["label"]
    if set(ids[id_column]) != set(labels.index) or not labels.index.is_unique:
        wrong = sorted(set(ids[id_column]) ^ set(labels.index))
        raise UserError(
            f"{sample}: its ids are not the predicted pictures ({len(wrong)} differ, such as"
            f" {', '.join(wrong[:3])}); is a picture missing?"
        )
    unread = labels == ""
    if unread.any():
        commonest = labels[~unread].mode().iloc[0]
        log.warning("the submission says %s, the commonest, for the unread ones", commonest)
        labels = labels.where(~unread, commonest)
    return pd.DataFrame(
        {id_column: ids[id_column], label_column: labels.loc[ids[id_column]].to_numpy()}
    )
