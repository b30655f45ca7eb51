"""The validation pictures of a run, shown larger, which may suit the network better.

Random crops enlarge what it sees in training (Touvron et al., Fixing the train-test
resolution discrepancy, 2019).
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from paddy_lightning.choices import Size
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.errors import UserError
from paddy_lightning.network.answers import probabilities_of
from paddy_lightning.runs.evidence import LEVEL, chance, paired
from paddy_lightning.runs.pictures import pictures_of
from paddy_lightning.runs.trained import at_size, augment_of, load_checkpoint, load_network

log = logging.getLogger(__name__)
SCALES = (1.15, 1.3)  # of the sides; the first alone is tested
STEP = 8  # pixels, to which sides are rounded
AT_ONCE = 64  # pictures


class BySize(NamedTuple):
    """How well a network does at several sizes.

    Attributes:
        table: A row a size, that of the training first: ``size``, ``error_rate``, ``loss``.
        better: What is to be said where the second is better than chance would have it; or "".
    """

    table: pd.DataFrame
    better: str


def error_by_size(run_dir: Path, valid: pd.DataFrame) -> BySize | None:
    """Errors and losses at 1, 1.15 and 1.3 times the size of the training, of the kept checkpoint.

    Args:
        run_dir: The run folder.
        valid: Its ``valid_predictions.csv``, which has those of the first size.

    Returns:
        None where the data is gone, or the arch takes one size alone; that is told.
    """
    checkpoint = load_checkpoint(run_dir)
    facts = checkpoint["hyper_parameters"]
    found = {_name(facts["size"]): valid}
    try:
        pictures = pictures_of(facts, valid["file"])
        for scale in SCALES:
            size = scaled(facts["size"], scale)
            if _name(size) not in found:
                found[_name(size)] = _predicted(at_size(checkpoint, size), pictures, valid)
    except UserError as error:
        log.info("no errors at larger sizes: %s", error)
        return None
    if len(found) == 1:  # too small for any step
        return None
    rows = [
        {
            "size": name,
            "error_rate": (table["label"] != table["predicted"]).mean(),
            "loss": table["loss"].mean(),
        }
        for name, table in found.items()
    ]
    return BySize(pd.DataFrame(rows), verdict(run_dir, found))


def scaled(size: Size, scale: float) -> Size:
    """``(height, width)`` times a number, in steps of 8 pixels."""
    height, width = (max(STEP, round(side * scale / STEP) * STEP) for side in size)
    return height, width


def verdict(run_dir: Path, found: dict[str, pd.DataFrame]) -> str:
    """Whether the second size is better than the first, by McNemar's test; "" where it is not.

    Args:
        run_dir: The run folder.
        found: By size, ``file, label, predicted`` of every picture.
    """
    (first, trained), (second, larger), *_ = found.items()
    only_first, only_second, p = paired(trained, larger)
    if p >= LEVEL or only_second < only_first:
        return ""
    return (
        f"{second} is better than {first}, which it was trained at: right on {only_second} more"
        f" pictures, wrong on {only_first} ({chance(p)}). Use it, with"
        f" `paddy predict ckpt={run_dir.as_posix()} size={second}`"
    )


def _predicted(checkpoint: dict[str, Any], pictures: Pictures, valid: pd.DataFrame) -> pd.DataFrame:
    """``file, label, predicted, loss`` of every picture."""
    facts = checkpoint["hyper_parameters"]
    names, device = facts["class_names"], "cuda" if torch.cuda.is_available() else "cpu"
    network, augment = load_network(checkpoint).eval().to(device), augment_of(facts)
    log.info("size=%s: %d validation pictures", _name(facts["size"]), len(pictures))
    batches = []
    with torch.inference_mode():
        for rows in torch.arange(len(pictures)).split(AT_ONCE):
            images = torch.stack([one.image for one in pictures.__getitems__(rows.tolist())])
            seen = augment.plain(images.to(device))
            batches.append(probabilities_of(network, seen).float().cpu())
    probabilities = torch.cat(batches)
    truth = torch.tensor([names.index(label) for label in valid["label"]])
    of_truth = probabilities.gather(1, truth[:, None])[:, 0]
    return valid[["file", "label"]].assign(
        predicted=np.array(names)[probabilities.argmax(1).numpy()],
        loss=-of_truth.clamp_min(1e-38).log().numpy(),
    )


def _name(size: Size) -> str:
    return "x".join(map(str, size))
