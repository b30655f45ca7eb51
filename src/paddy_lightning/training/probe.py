"""Which pretrained network suits the pictures, in a minute: by its features as they are.

Of every candidate one pass over the pictures to train on, then logistic regression on what came
out, in folds. And the start of a fine-tuning that leaves good features alone: a trained head on a
body that was not touched (Kumar et al., Fine-Tuning can Distort Pretrained Features, 2022).
"""

import logging
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

from paddy_lightning.atomic import written_whole
from paddy_lightning.command_configs import ProbeConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.split import fold_rows, groups_of
from paddy_lightning.data.table import DataSet, describe, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.network.model import Network, build_model
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.evidence import LEVEL, error_interval, holm, mcnemar
from paddy_lightning.runs.run_folder import from_anywhere, new_run_folder
from paddy_lightning.training.build import build_datamodule, checkpoint_facts, refuse_too_few
from paddy_lightning.training.check import check, require_weights
from paddy_lightning.training.frozen import fit_head, frozen_features, out_of_fold
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.trainer_arguments import one_device

log = logging.getLogger(__name__)
FOLDS = 5
FORMATS = {
    **dict.fromkeys(("error_rate", "error_low", "error_high"), "{:.4f}".format),
    **{"p": "{:.3f}".format, "seconds": "{:.1f}".format, "million_parameters": "{:.1f}".format},
}


class Pictures(NamedTuple):
    """What all candidates are shown.

    Attributes:
        data: Where the pictures are.
        table: Those to train on, with no split.
        class_names: Of the whole data set, in the order of the logits.
        labels: int64 [N], of the table's rows.
        folds: The rows of each fold.
    """

    data: DataSet
    table: pd.DataFrame
    class_names: list[str]
    labels: np.ndarray
    folds: Sequence[np.ndarray]


@left_as_found()
def probe(config: ProbeConfig, run_dir: str | Path | None = None) -> pd.DataFrame:
    """Compare pretrained networks by their features of the pictures to train on.

    Those that validate are not looked at: no choice that is made here flatters a later run's error.

    Args:
        config: Every knob; those of schedules, rates and augmentation are not looked at.
        run_dir: Where ``probe.csv``, ``pictures.csv`` (the split) and a checkpoint a candidate go,
            for ``start=``; None for a new folder.

    Returns:
        A row a candidate, the best first: ``arch``, ``size``, ``error_rate`` out of five folds,
        ``error_low`` and ``error_high`` (its 95 % interval), ``p`` of a test against the best on
        the same pictures, corrected for their number, ``seconds`` of the pass over the pictures,
        ``million_parameters`` and ``start``, the file of the trained head.

    Raises:
        UserError: As ``train``; a candidate that cannot be built ends it before any is computed.
    """
    candidates = config.candidates()
    if config.start or config.resume:
        raise UserError("start, resume: a probe compares pretrained networks; leave them out")
    for candidate in candidates:
        check(candidate)
        require_weights(candidate)
    with new_run_folder(run_dir) as folder:
        data = open_data(config.data)
        log.info(describe(data))
        candidates = [from_anywhere(candidate, data.config) for candidate in candidates]
        table = split_readable(candidates[0], data)
        pictures = to_train_on(candidates[0], data, table)
        for candidate in candidates if len(candidates) > 1 else []:
            _network(candidate, len(pictures.class_names))
        write_table(folder / "pictures.csv", table)
        rights, rows = [], []
        for candidate in candidates:
            row, right = probe_one(candidate, pictures, folder)
            log.info("{arch} at {size}: error rate {error_rate:.4f}".format(**row))
            rows.append(row)
            rights.append(right)
        found = ranked(pd.DataFrame(rows), rights)
        write_table(folder / "probe.csv", found)
        log.info("%s", report(found, folder))
        return found


def run_probe(config: ProbeConfig, run_dir: Path) -> None:
    """``paddy probe``: as ``probe``, which prints what it finds."""
    probe(config, run_dir)


def to_train_on(config: TrainConfig, data: DataSet, table: pd.DataFrame) -> Pictures:
    """The pictures to train on, in folds of their own: stratified, groups together.

    Raises:
        UserError: Too few.
    """
    train = table[~table["is_valid"]].drop(columns="is_valid").reset_index(drop=True)
    refuse_too_few(config, data, len(train))
    told = (
        "probe: looks at the %d pictures to train on, in %d folds; the %d that validate stay unseen"
    )
    log.info(told, len(train), FOLDS, len(table) - len(train))
    class_names = sorted(table["label"].unique())
    labels = pd.Categorical(train["label"], class_names).codes.astype(np.int64)
    groups = groups_of(train, data.root, config.group)
    folds = fold_rows(train, FOLDS, config.split_seed, stratified=True, groups=groups)
    return Pictures(data, train, class_names, labels, folds)


def probe_one(
    config: TrainConfig, pictures: Pictures, folder: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """One candidate: its features, what regression makes of them, and a head fitted to them.

    Returns:
        Its row, without ``p``; and bool [N], which pictures were right out of fold.
    """
    network = _network(config, len(pictures.class_names))
    facts = checkpoint_facts(config, pictures.data, pictures.class_names, network)
    datamodule = build_datamodule(
        config, pictures.data.root, pictures.table, pictures.class_names, facts
    )
    began = time.perf_counter()
    device = one_device(config.trainer)
    features = frozen_features(network, datamodule, config.precision, device)
    seconds = time.perf_counter() - began
    size = "x".join(map(str, config.size))
    try:
        right = out_of_fold(features, pictures.labels, pictures.folds) == pictures.labels
    except UserError as error:
        raise UserError(f"arch={config.arch} size={size}: {error}") from error
    fit_head(network, features, torch.from_numpy(pictures.labels), config.seed, config.weight_decay)
    name = f"{config.arch}_{size}.ckpt"
    save_start(folder / name, network, facts)
    low, high = error_interval(int((~right).sum()), len(right))
    row = {"arch": config.arch, "size": size, "error_rate": float((~right).mean())}
    row |= {"error_low": low, "error_high": high, "seconds": seconds}
    return row | {"million_parameters": facts["num_parameters"] / 1e6, "start": name}, right


def save_start(path: Path, network: Network, facts: dict[str, Any]) -> None:
    """What ``start=`` of ``paddy train`` begins with, and ``paddy predict`` takes."""
    module = Classifier(network, len(facts["class_names"]))
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": facts, "epoch": 0}
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(checkpoint, file)


def ranked(rows: pd.DataFrame, rights: Sequence[np.ndarray]) -> pd.DataFrame:
    """The best first, and whether the others differ from it: McNemar's test, corrected by Holm."""
    order = rows["error_rate"].argsort(kind="stable").to_numpy()
    best, *others = (rights[int(row)] for row in order)
    ps = [mcnemar(int((best & ~other).sum()), int((other & ~best).sum())) for other in others]
    found = rows.iloc[order].reset_index(drop=True)
    found.insert(5, "p", [np.nan, *holm(ps)])
    return found


def report(found: pd.DataFrame, folder: Path) -> str:
    """The table, what it means, and how to go on."""
    first = found.iloc[0]
    equals = found["arch"] + " at " + found["size"]
    equals = equals[(found["p"] >= LEVEL).to_numpy()]
    cannot = f"; it cannot be told apart from {', '.join(equals)}" if len(equals) else ""
    height, width = first["size"].split("x")
    size = height if height == width else first["size"]
    start = shlex.quote((folder / first["start"]).as_posix())
    return "\n".join(
        [
            found.drop(columns="start").to_string(index=False, formatters=FORMATS, na_rep=""),
            f"the best is {first['arch']} at {first['size']}{cannot}",
            "train on from its head, with the same data and split:",
            f"  paddy train start={start} arch={first['arch']} size={size} freeze_epochs=0",
            f"everything is in {folder}",
        ]
    )


def _network(config: TrainConfig, num_classes: int) -> Network:
    pl.seed_everything(config.seed, verbose=False)
    return build_model(config.arch, num_classes, config.weights, config.size, config.arch_args)
