"""Checkpoints -> probabilities -> CSV files; test-time augmentation."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from paddy_lightning.atomic import set_aside
from paddy_lightning.augment import Augment, kornia_augmentations
from paddy_lightning.broken import find_broken
from paddy_lightning.check import check_counts
from paddy_lightning.classifier import Classifier, have_digits_for
from paddy_lightning.config import PadMode, PredictConfig, Resize, Tta
from paddy_lightning.csv_tables import write_table
from paddy_lightning.datamodule import PaddyDataModule
from paddy_lightning.ensemble import check_members, join_members, shares
from paddy_lightning.errors import UserError
from paddy_lightning.knob import read_enum, read_path
from paddy_lightning.model import build_model
from paddy_lightning.prediction_report import report_errors, report_members, report_top
from paddy_lightning.presize import Presize
from paddy_lightning.quiet import left_as_found
from paddy_lightning.submission import submission
from paddy_lightning.trainer_arguments import ANY_DEVICE, lightning_trainer
from paddy_lightning.whereabouts import ToPredict, find_images, trained_on
from paddy_lightning.workers import default_num_workers, fitting_workers

log = logging.getLogger(__name__)
TTA_VIEWS = 4  # and the plain one
TTA_BETA = 0.25  # the weight of the plain one


@left_as_found()
def predict(
    run: str | Path | Sequence[str | Path],
    images: str | Path | None = None,
    tta: Tta | str = Tta.off,
    batch_size: int = 64,
    num_workers: int | None = None,
    ensemble_weights: Sequence[float] | None = None,
) -> pd.DataFrame:
    """What a trained network, or several together, make of pictures.

    Args:
        run: A run folder or a checkpoint file, or several of them.
        images: A picture or a folder of them; None for the test set of the (first) run's data.
        tta: ``off``, ``mean`` or ``max`` of 4 augmented views and the plain one, from one
            decode of each file.
        batch_size: Pictures a step.
        num_workers: Processes that open pictures; None for what is fastest here.
        ensemble_weights: What each run counts for; None for all the same.

    Returns:
        A row a picture, in the order of their paths: ``file`` (relative to the folder),
        ``label`` (the likeliest class), ``confidence`` (its probability), and the probability
        of every class in a column of its name. A file that cannot be read has a row with an
        empty label and no numbers, and is told as a warning.

    Raises:
        UserError: No such run, no pictures, or members that do not go together.
    """
    runs = read_path([run] if isinstance(run, (str, Path)) else list(run))
    tta = read_enum("tta", Tta, tta)
    return _predict(runs, read_path(images), tta, batch_size, num_workers, ensemble_weights)[0]


def run_predict(config: PredictConfig) -> Path:
    """``predict.py``: write ``predictions.csv`` and, where Kaggle's ids lie, ``submission.csv``.

    Returns:
        The path of ``predictions.csv``.

    Raises:
        UserError: As ``predict``; or a submission that would not fit the sample.
    """
    if not config.ckpt:
        raise UserError("say which model, with ckpt=RUN_FOLDER or ckpt=FILE.ckpt")
    check_counts(config, batch_size=1, num_workers=0)
    if config.output and Path(config.output).is_file():
        raise UserError(f"output={config.output}: is a file; name a folder")
    runs = [str(run) for run in (config.ckpt if isinstance(config.ckpt, list) else [config.ckpt])]
    if len(runs) > 1 and not config.output:
        raise UserError("several members: say where the CSV files go, with output=FOLDER")
    output = Path(config.output) if config.output else _run_folder(Path(runs[0]))
    how = (config.tta, config.batch_size, config.num_workers, config.ensemble_weights)
    predictions, sample = _predict(runs, config.images, *how)
    written = _write_csv(output / "predictions.csv", predictions)
    if sample is not None:
        _write_csv(output / "submission.csv", submission(predictions, sample))
    return written


def _predict(
    runs: Sequence[str | Path],
    images: str | Path | None,
    tta: Tta,
    batch_size: int,
    num_workers: int | None,
    ensemble_weights: Sequence[float] | None,
) -> tuple[pd.DataFrame, Path | None]:
    """The table of predictions, and Kaggle's sample of ids where it asks for these pictures."""
    weights = shares(ensemble_weights, len(runs))
    checkpoints = [load_checkpoint(run) for run in runs]
    check_members(checkpoints, [str(run) for run in runs])
    every_fact = [checkpoint["hyper_parameters"] for checkpoint in checkpoints]
    class_names = every_fact[0]["class_names"]
    pictures = find_images(images, every_fact[0])
    log.info("data: %d pictures in %s", len(pictures.files), pictures.root)
    members = [
        _predict_files(checkpoint, pictures, tta, batch_size, num_workers)
        for checkpoint in checkpoints
    ]
    joined = join_members([join_views(views, tta) for views in members], weights)
    predictions = predictions_table(pictures.files, joined, class_names)
    folders = [_run_folder(Path(run)) for run in runs]
    if len(runs) > 1:
        report_members(folders, weights)
    if len(predictions) == 1:
        report_top(predictions, class_names)
    if images is not None:
        plain = join_members([join_views(views, Tta.off) for views in members], weights)
        without_tta = predictions_table(pictures.files, plain, class_names)["label"]
        pairs = zip(folders, every_fact, strict=True)
        trained = np.any([trained_on(*pair, pictures) for pair in pairs], axis=0)
        report_errors(predictions, without_tta, tta, class_names, trained)
    return predictions, pictures.sample


def load_checkpoint(run: str | Path) -> dict[str, Any]:
    """The best checkpoint of a run folder, or that of a file; nothing in it is run.

    Raises:
        UserError: No such file, or not a checkpoint of this package.
    """
    path = Path(run)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; ckpt= names a run folder or a file")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["hyper_parameters"]["class_names"], checkpoint["state_dict"]
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint made by train.py") from error
    return checkpoint


def load_module(checkpoint: dict[str, Any]) -> Classifier:
    """The network of a checkpoint, with its weights."""
    facts = checkpoint["hyper_parameters"]
    num_classes = len(facts["class_names"])
    model = build_model(facts["arch"], num_classes, "none", tuple(facts["size"]))
    module = Classifier(model, num_classes)
    have_digits_for(module, checkpoint["state_dict"])
    module.load_state_dict(checkpoint["state_dict"])
    return module


def predict_views(
    module: Classifier,
    datamodule: PaddyDataModule,
    precision: str,
    device: Mapping[str, Any] = ANY_DEVICE,
) -> Tensor:
    """Run the network over ``predict_dataloader``.

    Args:
        module: The network.
        datamodule: Of the pictures.
        precision: As in training.
        device: Lightning's ``accelerator`` and ``devices`` for one of them.

    Returns:
        float32 [N, views, num_classes] on the CPU, in the order of the table's rows; the plain
        view is the last.
    """
    trainer = lightning_trainer(
        **device,
        precision=usable_precision(precision, device.get("accelerator")),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )
    batches: Any = trainer.predict(module, datamodule=datamodule)
    index = torch.cat([rows for rows, _ in batches])
    return torch.cat([views for _, views in batches]).float()[index.argsort()]


def join_views(views: Tensor, tta: Tta, beta: float = TTA_BETA) -> Tensor:
    """One set of probabilities a picture; fastai's ``tta``.

    Args:
        views: float [N, views, num_classes], the plain view last.
        tta: off: the plain view alone; mean: ``(1 - beta) * mean(augmented) + beta * plain``;
            max: the largest over all views, whose rows no longer sum to 1.
        beta: Weight of the plain view.

    Returns:
        float [N, num_classes].
    """
    match tta:
        case Tta.off:
            return views[:, -1]
        case Tta.mean:
            return torch.lerp(views[:, :-1].mean(1), views[:, -1], beta)
        case Tta.max:
            return views.amax(1)


def predictions_table(
    files: pd.Series, probabilities: Tensor, class_names: list[str]
) -> pd.DataFrame:
    """The columns ``file, label, confidence`` and one a class; no label without probabilities."""
    confidence, best = probabilities.max(1)
    head = {
        "file": files.to_numpy(),
        "label": np.where(confidence.isnan(), "", np.array(class_names)[best.numpy()]),
        "confidence": confidence.numpy(),
    }
    columns = pd.DataFrame(probabilities.numpy(), columns=class_names)
    return pd.concat([pd.DataFrame(head), columns], axis=1)


def _predict_files(
    checkpoint: dict[str, Any],
    pictures: ToPredict,
    tta: Tta,
    batch_size: int,
    num_workers: int | None,
) -> Tensor:
    facts, (root, files, _) = checkpoint["hyper_parameters"], pictures
    module = load_module(checkpoint)
    datamodule = PaddyDataModule(
        root,
        pd.DataFrame({"file": files}),
        facts["class_names"],
        presize_of(facts),
        augment_of(facts),
        batch_size=batch_size,
        num_workers=fitting_workers(
            # A worker costs more than eight files.
            min(default_num_workers(num_workers), len(files) // 8),
            tuple(facts["presize"]),
            batch_size,
        ),
        tta=0 if tta is Tta.off else TTA_VIEWS,
        pass_unread=True,
    )
    views = predict_views(module, datamodule, facts["precision"])
    unread = files[views.isnan().any(-1).any(-1).numpy()]
    for problem in find_broken(root, unread, num_workers=1):
        log.warning("%s; it has a row without a label", problem)
    return views


def usable_precision(precision: str, accelerator: str | None = None, notice: bool = False) -> str:
    """As asked, but 32-true where mixed precision is no gain: on a CPU."""
    on_gpu = torch.cuda.is_available() and accelerator != "cpu"
    if on_gpu or not precision.endswith("-mixed"):
        return precision
    if notice:
        log.info("precision: 32-true (%s is no gain on this machine)", precision)
    return "32-true"


def presize_of(facts: dict[str, Any]) -> Presize:
    """How the pictures of a network are opened, from its checkpoint's facts."""
    resize, pad_mode = Resize(facts["resize"]), PadMode(facts["pad_mode"])
    return Presize(tuple(facts["presize"]), resize, pad_mode, facts["draft"])


def augment_of(facts: dict[str, Any]) -> Augment:
    """What happens to the pictures of a network on the device, from its checkpoint's facts."""
    extra = kornia_augmentations(facts["augment"])
    mean, std = facts["mean"], facts["std"]
    return Augment(tuple(facts["size"]), mean, std, facts["seed"], facts["min_scale"], extra)


def _run_folder(checkpoint: Path) -> Path:
    """The run a checkpoint belongs to, or the folder of a file that has none."""
    if checkpoint.is_dir():
        return checkpoint
    return (
        checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    )


def _write_csv(path: Path, frame: pd.DataFrame) -> Path:
    if aside := set_aside(path):
        log.info("kept what was there as %s", aside)
    write_table(path, frame)
    log.info("wrote %s (%d rows)", path, len(frame))
    return path
