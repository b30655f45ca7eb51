"""Predictions by a file that ``paddy export`` wrote: without torch, and so at once."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from paddy_lightning.choices import DataConfig, Source, Tta
from paddy_lightning.config import plain
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.images import ToPredict
from paddy_lightning.prediction.members import WITHOUT_A_LABEL, Answers, How, Member
from paddy_lightning.runs.run_folder import folder_of, read_config
from paddy_lightning.runtime.model import Model
from paddy_lightning.runtime.predict import predict_batches

log = logging.getLogger(__name__)


def from_export(path: Path, how: How) -> Member:
    """The network of an ONNX file; in its run's folder it has that run's data, elsewhere none.

    Raises:
        UserError: No such network, or one that cannot predict so.
    """
    if how.tta is not Tta.off:
        raise UserError(
            f"tta={how.tta}: {path} joins what views it has by itself (paddy export tta=true); the"
            " run's checkpoint has the others"
        )
    if how.unfamiliar:
        raise UserError(f"unfamiliar: {path} tells no such thing; the run's checkpoint does")
    model, folder = Model(path), folder_of(path)
    if how.size not in (None, tuple(model.facts["size"])):
        raise UserError(f"size: {path} shows its network pictures of {model.facts['size']} alone")

    def answers(pictures: ToPredict, first: int) -> Iterator[Answers]:
        files = list(pictures.files[first:])
        for found, problems in predict_batches(model, pictures.root, files, how.batch_size):
            for problem in problems:
                log.warning(WITHOUT_A_LABEL, problem)
            yield Answers(found[:, None], np.full(len(found), np.nan, np.float32))

    data = DataConfig(Source.folder)
    if (folder / "config.yaml").is_file():
        data = read_config(folder).data
    return Member(folder, model.facts | {"data": plain(data)}, answers)
