"""``paddy export``: a run as one ONNX file that takes pictures, and the proof of it."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from paddy_lightning.atomic import set_aside, write_json, written_whole
from paddy_lightning.command_configs import ExportConfig
from paddy_lightning.errors import UserError
from paddy_lightning.export.onnx_file import write_onnx
from paddy_lightning.export.parity import Way, ask, by_checkpoint, held_together, table
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.run_folder import locked, read_config, read_predictions
from paddy_lightning.runs.summary import FINISHED, read_summary, versions
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.runs.whereabouts import pictures_of
from paddy_lightning.runtime.model import Model

log = logging.getLogger(__name__)
FOLDER = "export"
MODEL, PARITY = "model.onnx", "parity.json"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
BOUND = 1e-4  # that no probability may differ by; float32 in another order makes 1e-6 or so


def run_export(config: ExportConfig) -> Path:
    """``paddy export``.

    Returns:
        The path of ``model.onnx``.

    Raises:
        UserError: As ``export_run``.
    """
    if not config.run:
        raise UserError("say which run, with run=RUN_FOLDER")
    return export_run(Path(config.run))


@left_as_found()
def export_run(run_dir: Path) -> Path:
    """Write ``export/model.onnx`` and, of its proof, ``export/parity.json``, in a run's folder.

    What an earlier export left is kept under other names.

    Returns:
        The path of ``model.onnx``.

    Raises:
        UserError: No finished run, an arch that cannot be exported, validation pictures that are
            not there, or a graph that says anything else than the checkpoint; then nothing is
            left.
    """
    read_config(run_dir)
    if read_summary(run_dir).get("status") not in FINISHED:
        raise UserError(f"run={run_dir}: is not done; there is nothing to export yet")
    folder = run_dir / FOLDER
    with locked(run_dir), _no_empty(folder), written_whole(folder / MODEL) as temporary:
        checkpoint = load_checkpoint(run_dir)
        write_onnx(checkpoint, temporary)
        proof = prove(checkpoint, temporary, run_dir)
        for name in (MODEL, PARITY):
            if aside := set_aside(folder / name):
                log.info("kept what was there as %s", aside)
        write_json(folder / PARITY, proof)
    log.info("wrote %s (%.1f MB)", folder / MODEL, (folder / MODEL).stat().st_size / 1e6)
    return folder / MODEL


def prove(checkpoint: dict[str, Any], model: Path, run_dir: Path) -> dict[str, Any]:
    """Ask a checkpoint and an ONNX file about every validation picture, and tell the answers.

    Returns:
        What ``parity.json`` says.

    Raises:
        UserError: They differ by more than the bound.
    """
    facts = checkpoint["hyper_parameters"]
    valid = read_predictions(run_dir / "valid_predictions.csv")
    labels = pd.Categorical(valid["label"], facts["class_names"]).codes.astype("int64")
    ways: dict[str, Way] = {"checkpoint": by_checkpoint(checkpoint)}
    ways[MODEL] = Model(model, threads=torch.get_num_threads())
    forms = held_together(ask(ways, pictures_of(facts, valid["file"])), labels)
    log.info("on the %d validation pictures:\n%s", len(valid), table(forms))
    found = forms[MODEL]
    if not found.largest_difference <= BOUND:  # nor is nan
        raise UserError(
            f"{run_dir}: the exported graph does not say what the checkpoint says (a probability"
            f" differs by {found.largest_difference:.2g}, at most {BOUND:g} is allowed, and"
            f" {found.labels_differ} of {len(valid)} labels); it is not kept"
        )
    return {
        "pictures": len(valid),
        "bound": BOUND,
        "forms": {name: form._asdict() for name, form in forms.items()},
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "versions": versions() | {name: version(name) for name in PACKAGES},
    }


@contextmanager
def _no_empty(folder: Path) -> Iterator[None]:
    """Leave no folder behind with nothing in it."""
    try:
        yield
    finally:
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
