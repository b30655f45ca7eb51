"""``paddy export``: a run as one ONNX file that takes pictures, and the proof of it."""

import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from paddy_lightning.atomic import set_aside, write_json, written_whole
from paddy_lightning.command_configs import ExportConfig
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.errors import UserError
from paddy_lightning.export.onnx_file import write_onnx
from paddy_lightning.export.parity import Way, ask, by_checkpoint, held_together, table
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.evidence import chance
from paddy_lightning.runs.pictures import pictures_of
from paddy_lightning.runs.run_folder import locked, read_config, read_predictions
from paddy_lightning.runs.summary import FINISHED, read_summary, versions
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.runtime.model import Model

log = logging.getLogger(__name__)
FOLDER = "export"
MODEL, INT8, PARITY = "model.onnx", "model.int8.onnx", "parity.json"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
BOUND = 1e-4  # that no probability may differ by; float32 in another order makes 1e-6 or so


class Validation(NamedTuple):
    """The pictures a run validated on, and int64 [N], their classes."""

    pictures: Pictures
    labels: np.ndarray


def run_export(config: ExportConfig) -> Path:
    """``paddy export``.

    Returns:
        The path of ``model.onnx``.

    Raises:
        UserError: As ``export_run``.
    """
    if not config.run:
        raise UserError("say which run, with run=RUN_FOLDER")
    return export_run(Path(config.run), config.int8, config.tta)


@left_as_found()
def export_run(run_dir: Path, int8: bool = False, tta: bool = False) -> Path:
    """Write ``export/model.onnx`` and, of its proof, ``export/parity.json``, in a run's folder.

    What an earlier export left is kept under other names.

    Args:
        run_dir: The run folder.
        int8: Whether to write ``export/model.int8.onnx``, too, if it is as good.
        tta: Whether probabilities are to be the mean over a picture and its mirror image.

    Returns:
        The path of ``model.onnx``.

    Raises:
        UserError: No finished run, an arch that cannot be exported, pictures that are not there,
            or a graph that says anything else than the checkpoint; then nothing is left.
    """
    read_config(run_dir)
    if read_summary(run_dir).get("status") not in FINISHED:
        raise UserError(f"run={run_dir}: is not done; there is nothing to export yet")
    folder = run_dir / FOLDER
    with locked(run_dir), _no_empty(folder):
        checkpoint = load_checkpoint(run_dir)
        facts = checkpoint["hyper_parameters"]
        valid = read_predictions(run_dir / "valid_predictions.csv")
        labels = pd.Categorical(valid["label"], facts["class_names"]).codes.astype("int64")
        validation = Validation(pictures_of(facts, valid["file"]), labels)
        with written_whole(folder / MODEL) as temporary:
            write_onnx(checkpoint, temporary, tta)
            proof = prove(checkpoint, temporary, validation)
            for name in (MODEL, INT8, PARITY):
                if aside := set_aside(folder / name):
                    log.info("kept what was there as %s", aside)
            write_json(folder / PARITY, proof)
        _tell_of(folder / MODEL)
        if int8:
            proof |= try_int8(run_dir, facts, validation)
            write_json(folder / PARITY, proof)
    return folder / MODEL


def prove(checkpoint: dict[str, Any], model: Path, validation: Validation) -> dict[str, Any]:
    """Ask a checkpoint and an ONNX file about every validation picture, and tell the answers.

    Returns:
        What ``parity.json`` says.

    Raises:
        UserError: They differ by more than the bound.
    """
    opened = _opened(model)
    first = by_checkpoint(checkpoint, opened.facts["tta"])
    ways: dict[str, Way] = {"checkpoint": first, MODEL: opened}
    forms = held_together(ask(ways, validation.pictures), validation.labels)
    total, found = len(validation.labels), forms[MODEL]
    log.info("on the %d validation pictures:\n%s", total, table(forms))
    if not found.largest_difference <= BOUND:  # nor is nan
        raise UserError(
            f"arch={checkpoint['hyper_parameters']['arch']}: its export does not say what the"
            f" checkpoint says (a probability differs by {found.largest_difference:.2g}, of which"
            f" {BOUND:g} is allowed, and {found.labels_differ} of {total} labels), and is not kept"
        )
    return {
        "pictures": total,
        "bound": BOUND,
        "forms": {name: form._asdict() for name, form in forms.items()},
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "versions": versions() | {name: version(name) for name in PACKAGES},
    }


def try_int8(run_dir: Path, facts: dict[str, Any], validation: Validation) -> dict[str, Any]:
    """Write ``model.int8.onnx``, unless it can be told from ``model.onnx``.

    Returns:
        What ``parity.json`` says of it.

    Raises:
        UserError: onnxruntime cannot quantize it, or the training pictures are not there.
    """
    from paddy_lightning.export.int8 import calibration_pictures, compare, write_int8

    exact, path = run_dir / FOLDER / MODEL, run_dir / FOLDER / INT8
    with TemporaryDirectory() as elsewhere:
        trial = Path(elsewhere, INT8)
        write_int8(exact, calibration_pictures(run_dir, facts), trial)
        answers = ask({MODEL: _opened(exact), INT8: _opened(trial)}, validation.pictures)
        forms = held_together(answers, validation.labels)
        verdict = compare(answers[MODEL], answers[INT8], validation.labels)
        log.info(
            "%s\n%d pictures are right in float32 alone, %d in int8 alone (%s), and %.0f %% of the"
            " labels are the same: int8 is %s",
            *(table(forms), verdict.only_float_right, verdict.only_int8_right, chance(verdict.p)),
            100 * verdict.same,
            "kept" if verdict.kept else "not as good, and not kept",
        )
        if verdict.kept:
            with written_whole(path) as temporary:
                shutil.copyfile(trial, temporary)
            _tell_of(path)
    return {"int8": forms[INT8]._asdict() | verdict._asdict() | {"kept": verdict.kept}}


def _opened(model: Path) -> Model:
    """With as many threads as torch has, so that their times can be compared."""
    return Model(model, threads=torch.get_num_threads())


def _tell_of(path: Path) -> None:
    log.info("wrote %s (%.1f MB)", path, path.stat().st_size / 1e6)


@contextmanager
def _no_empty(folder: Path) -> Iterator[None]:
    """Leave no folder behind with nothing in it."""
    try:
        yield
    finally:
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
