"""A network in one ONNX file, as ``paddy export`` writes it: uint8 pictures -> probabilities.

Imports nothing of torch; what opens pictures is ``data/presize.py``, as everywhere.
"""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from paddy_lightning.choices import PadMode, Resize
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import UserError

SCHEMA = 1  # of the metadata; a reader refuses a later one
PICTURES, PROBABILITIES, ACTIVATION = "pictures", "probabilities", "activation"
# What a file says of itself: plain words, and JSON. Other tools may add more.
TEXTS = ("arch", "licence", "paddy_lightning", "resize", "pad_mode")
VALUES = ("schema", "class_names", "presize", "size", "draft", "mean", "std", "temperature", "tta")
ERRORS_ALONE = 3  # onnxruntime's level of severity

if sys.platform != "win32":
    # To take a session apart is to wait for its threads, which a forked process does not have: it
    # leaves alone what it was forked with.
    os.register_at_fork(after_in_child=gc.freeze)


class Model:
    """An exported network.

    Args:
        path: Of the file.
        threads: That compute; None for one a core.

    Attributes:
        facts: Its metadata, by name: ``docs/export.md`` lists them.
        class_names: In the order of the probabilities.
        presize: How files are opened for it.
        tells_where: Whether it says where it looked.

    Raises:
        UserError: No such file, none that ``paddy export`` has made, or no onnxruntime.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"{path}: no such file")
        self._session = _session(self.path, threads or num_cores())
        self.facts = _facts(self.path, self._session.get_modelmeta().custom_metadata_map)
        self.class_names: list[str] = self.facts["class_names"]
        self.presize = Presize(
            tuple(self.facts["presize"]),
            Resize(self.facts["resize"]),
            PadMode(self.facts["pad_mode"]),
            self.facts["draft"],
        )
        self.tells_where = ACTIVATION in [one.name for one in self._session.get_outputs()]

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [B, height, width, 3], presized -> float32 [B, num_classes], probabilities."""
        return self._session.run([PROBABILITIES], {PICTURES: pictures})[0]

    def look(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, and where it looked for its best class.

        Returns:
            float32 [B, num_classes], and float32 [B, h, w], from 0 to 1: Grad-CAM, as coarse as
            the network's last map.

        Raises:
            UserError: It does not say: it is of a body that pools itself, such as a ViT.
        """
        if not self.tells_where:
            raise UserError(f"{self.path}: {self.facts['arch']} does not tell where it looks")
        probabilities, activation = self._session.run(
            [PROBABILITIES, ACTIVATION], {PICTURES: pictures}
        )
        return probabilities, activation


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            f"{path}: needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ALONE
    options.intra_op_num_threads = threads
    how = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}  # which would print
    try:
        return onnxruntime.InferenceSession(path, options, **how)
    except Exception as error:  # its own kinds have no common base
        raise UserError(f"{path}: cannot be read as an ONNX model ({_reason(error)})") from error


def _facts(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    schema = metadata.get("schema", "")
    if not schema.isdecimal():
        raise UserError(f"{path}: not a model made by paddy export")
    if int(schema) > SCHEMA:
        made_by = metadata.get("paddy_lightning")
        raise UserError(f"{path}: made by a later version of this package ({made_by})")
    try:
        values = {name: json.loads(metadata[name]) for name in VALUES}
        return values | {name: metadata[name] for name in TEXTS}
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: its metadata cannot be read ({error})") from error


def _reason(error: Exception) -> str:
    """What onnxruntime says, without its error codes and in one line."""
    return " ".join(str(error).split(" : ")[-1].split())
