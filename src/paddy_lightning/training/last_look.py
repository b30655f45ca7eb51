"""An honest last number: pictures that neither trained nor chose anything, looked at once."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.choices import Tta
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.equal_files import equal_files
from paddy_lightning.data.folders import labelled_table
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.errors import UserError
from paddy_lightning.lettering import printable
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.prediction.tta import join_views
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.runs.calibration import SMALLEST, temperature_of, tempered
from paddy_lightning.runs.evidence import error_interval
from paddy_lightning.runs.summary import Summary
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training.evaluation import judged_table

log = logging.getLogger(__name__)
TABLE = "test_predictions.csv"


def unseen_table(test: Path, root: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The pictures of one folder a class, none of which the run knows.

    Args:
        test: The folder.
        root: That of the pictures to train and validate on.
        table: Of these.

    Returns:
        ``file`` (relative to ``test``) and ``label``.

    Raises:
        UserError: No such pictures, a class that is none of the table's, or a file that is, byte
            for byte, one of the table's.
    """
    if not test.is_dir():
        raise UserError(f"test={test}: not there; it wants a folder with one folder a class")
    found = labelled_table(test)
    if found.empty:
        raise UserError(f"test={test}: no pictures in it; it wants one folder a class")
    known = {*table["label"]}
    if others := sorted({*found["label"]} - known):
        there = ", ".join(map(printable, sorted(known)))
        raise UserError(f"test={test}: {printable(others[0])} is no class here; there is {there}")
    ours = [str(root.absolute() / file) for file in table["file"]]
    theirs = [str(test.absolute() / file) for file in found["file"]]
    contents = equal_files(Path("/"), pd.Series([*ours, *theirs])).to_numpy()
    same = np.isin(contents[len(ours) :], contents[: len(ours)])
    if same.any():
        raise UserError(
            f"test={test}: {same.sum()} of its {len(same)} files are among those to train and"
            f" validate on, such as {printable(found['file'][same.argmax()])}; its error would"
            " flatter"
        )
    return found


def last_look(
    test: Path,
    table: pd.DataFrame,
    module: Classifier,
    datamodule: PaddyDataModule,
    run_dir: Path,
    precision: str,
    device: Mapping[str, Any],
) -> Summary:
    """Error and loss, as ``paddy predict`` would judge these pictures, and a row a picture.

    Args:
        test: Their folder.
        table: As ``unseen_table`` returns it.
        module: With the kept weights.
        datamodule: Of the run's own pictures.
        run_dir: Gets ``test_predictions.csv``; its checkpoint knows how sure it may be.
        precision: As in training.
        device: Lightning's ``accelerator`` and ``devices`` for one of them.
    """
    checkpoint = load_checkpoint(run_dir)
    class_names = checkpoint["hyper_parameters"]["class_names"]
    truth = pd.Categorical(table["label"], class_names).codes.astype("int64")
    presize = datamodule.pictures.presize
    pictures = Pictures(test, table["file"], truth, presize, pass_unread=True)
    shown = datamodule.shown()._replace(pictures=pictures, rows=np.arange(len(table)))
    views = predict_views(module.model, shown, precision, device).numpy()

    def said(way: Tta) -> np.ndarray:
        return tempered(join_views(views, way), temperature_of(checkpoint, way))

    plain = said(Tta.off)
    read = ~np.isnan(plain).any(1)
    if not read.all():
        log.warning("test=%s: %d of %d files cannot be read", test, (~read).sum(), len(read))
    losses = -np.log(plain[np.arange(len(truth)), truth].clip(SMALLEST))
    judged = judged_table(table, plain, losses, class_names)
    write_table(run_dir / TABLE, judged)
    wrong = plain.argmax(1)[read] != truth[read]
    low, high = error_interval(int(wrong.sum()), len(wrong))
    with_tta = said(Tta.mean).argmax(1)[read] != truth[read] if views.shape[1] > 1 else None
    return {
        "test_error_rate": float(wrong.mean()),
        "test_error_low": low,
        "test_error_high": high,
        "test_loss": float(losses[read].mean()),
        "test_tta_error_rate": None if with_tta is None else float(with_tta.mean()),
        "num_test": len(wrong),
    }
