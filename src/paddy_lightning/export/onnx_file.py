"""A checkpoint -> one ONNX file, with all that one must know to use it."""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from timm.layers import set_exportable

from paddy_lightning import __version__
from paddy_lightning.errors import UserError
from paddy_lightning.export.graph import Graph
from paddy_lightning.network.model import resolve_arch
from paddy_lightning.runs.calibration import temperature_of
from paddy_lightning.runs.trained import load_network
from paddy_lightning.runtime.model import ACTIVATION, PICTURES, PROBABILITIES, SCHEMA, TEXTS

OPSET = 18  # what the exporter itself speaks; later ones it would convert to
LARGEST = 2**31 - 2**27  # bytes of weights in one file, with room for the rest
SCOPES = "pkg.torch.onnx.name_scopes"  # of a node: which part of the network it is of
TALKERS = ("torch.onnx", "onnxscript", "onnx_ir")


def write_onnx(checkpoint: dict[str, Any], path: Path, tta: bool = False) -> None:
    """Write the graph of a checkpoint, and its metadata, as one file.

    Args:
        checkpoint: As ``load_checkpoint`` gives it.
        path: Of the file to write.
        tta: As for ``Graph``.

    Raises:
        UserError: The arch cannot be exported, is too large for one file, or the packages that
            export are not installed.
    """
    facts = checkpoint["hyper_parameters"]
    with set_exportable(True):  # such as attention in plain steps
        network: Any = load_network(checkpoint).float().eval()
    sizes = tuple(facts["presize"]), tuple(facts["size"])
    graph = Graph(
        network, *sizes, facts["mean"], facts["std"], temperature_of(checkpoint), tta
    ).eval()
    size = sum(tensor.nbytes for tensor in graph.state_dict().values())
    if size > LARGEST:
        raise UserError(
            f"arch={facts['arch']}: its weights, {size / 1e9:.1f} GB, are more than one ONNX file"
            " can hold"
        )
    try:
        with torch.no_grad(), _silence():
            program = _program(graph, facts["presize"])
            for node in program.model.graph:  # its stack traces name this machine's folders
                for key in {*node.metadata_props} - {SCOPES}:
                    del node.metadata_props[key]
            program.model.metadata_props.update(metadata(checkpoint, tta))
            program.save(path, external_data=False)
    except ImportError as error:  # torch asks for them by itself
        raise UserError(
            f"paddy export needs packages that are not installed ({error}): pip install onnx"
            " onnxscript onnxruntime"
        ) from error
    except Exception as error:  # each stage of the exporter has errors of its own
        raise UserError(
            f"arch={facts['arch']}: cannot be exported to ONNX ({_reason(error)})"
        ) from error


def _program(graph: Graph, presize: Sequence[int]) -> torch.onnx.ONNXProgram:
    """What torch makes of a graph, for a batch of any size."""
    itself = graph.network.pools_itself
    # Of two pictures: with one, the exporter would take the batch for always one.
    pictures = torch.zeros(2, *presize, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        graph,
        (pictures,),
        input_names=[PICTURES],
        output_names=[PROBABILITIES] if itself else [PROBABILITIES, ACTIVATION],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    assert program is not None
    return program


def metadata(checkpoint: dict[str, Any], tta: bool = False) -> dict[str, str]:
    """What a reader of the file must know, of a checkpoint; JSON, but for plain words."""
    facts = checkpoint["hyper_parameters"]
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "paddy_lightning": __version__,
        "licence": licence_of(facts),
        "temperature": temperature_of(checkpoint),
        "tta": tta,
        **{key: facts[key] for key in ("arch", "class_names", "resize", "pad_mode", "draft")},
        **{key: list(facts[key]) for key in ("presize", "size", "mean", "std")},
    }
    return {key: str(v) if key in TEXTS else json.dumps(v) for key, v in values.items()}


def licence_of(facts: dict[str, Any]) -> str:
    """Of the weights that the training started from: timm's word for it, "none" or "unknown"."""
    told = facts.get("config", {})
    if told.get("start") is None and told.get("weights") == "none":
        return "none"
    if told.get("start") is None and told.get("weights") not in (None, "pretrained"):
        return "unknown"  # a file
    return str(resolve_arch(facts["arch"])[1].license or "unknown")


@contextmanager
def _silence() -> Iterator[None]:
    """While torch's exporter would tell of its stages, and of what it deprecates in itself."""
    levels = {name: logging.getLogger(name).level for name in TALKERS}
    with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()):
        for name in TALKERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _reason(error: BaseException) -> str:
    """The first line of what lies at the bottom of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
