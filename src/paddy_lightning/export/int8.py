"""An exported network with its body in 8-bit integers: smaller, and often faster.

Static, per channel, calibrated on training pictures. What resizes, the head, and what tells where
it looked stay as they are.
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.errors import UserError
from paddy_lightning.export.onnx_file import SCOPES
from paddy_lightning.export.parity import AT_ONCE, Answers, batches
from paddy_lightning.runs.evidence import LEVEL, mcnemar
from paddy_lightning.runs.pictures import pictures_of
from paddy_lightning.runtime.model import PICTURES

CALIBRATION = 128  # pictures
SAME = 0.95  # of the labels, at least: on few pictures, a test alone lets anything pass
BODY = "network.body"  # how its weights begin, and its nodes' scopes


class Verdict(NamedTuple):
    """How far the two are from each other.

    Attributes:
        only_float_right: Pictures.
        only_int8_right: Likewise.
        p: As ``evidence.mcnemar``.
        same: The share of pictures with the same label from both.
    """

    only_float_right: int
    only_int8_right: int
    p: float
    same: float

    @property
    def kept(self) -> bool:
        """Whether they cannot be told apart, and nearly always say the same."""
        return self.p >= LEVEL and self.same >= SAME


def compare(exact: Answers, rounded: Answers, labels: np.ndarray) -> Verdict:
    """Which of the two is right, picture by picture; ``labels``: int64 [N]."""
    said, also_said = (one.probabilities.argmax(1) for one in (exact, rounded))
    right, also = said == labels, also_said == labels
    first, second = int((right & ~also).sum()), int((also & ~right).sum())
    return Verdict(first, second, mcnemar(first, second), float((said == also_said).mean()))


def calibration_pictures(run_dir: Path, facts: dict[str, Any]) -> Pictures:
    """Some of the pictures that a run trained on, from all over its table."""
    table = read_table(run_dir / "pictures.csv")
    files = table.loc[table["is_valid"].str.lower() == "false", "file"]
    rows = np.linspace(0, len(files) - 1, min(CALIBRATION, len(files))).astype(int)
    return pictures_of(facts, files.iloc[rows].reset_index(drop=True))


def write_int8(model: Path, pictures: Pictures, path: Path) -> None:
    """Quantize an exported network.

    Args:
        model: Its file.
        pictures: That show which range the numbers have.
        path: Of the file to write.

    Raises:
        UserError: onnxruntime cannot.
    """
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it speaks to the root
    try:
        with TemporaryDirectory() as folder:
            prepared = Path(folder, "prepared.onnx")
            # The exporter knows the shapes already, and has fused what can be; onnxruntime's own
            # fusions would forget which part of the network a node is of.
            quant_pre_process(model, prepared, skip_symbolic_shape=True, skip_optimization=True)
            quantize_static(
                prepared,
                path,
                _Reader(pictures),
                per_channel=True,
                # All 8 bits: 7 are less exact, and unsigned ones leave onnxruntime's fast paths. On
                # x86 before VNNI sums of 8 bits can overflow.
                reduce_range=False,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=_nodes_of_the_body(prepared),
            )
    except UserError:
        raise
    except Exception as error:  # of any kind, from its depths
        raise UserError(f"{model}: cannot be quantized ({error})") from error
    finally:
        logging.getLogger().setLevel(level)


def _nodes_of_the_body(model: Path) -> list[str]:
    """Their names."""

    def is_of_it(node: onnx.NodeProto) -> bool:
        scope = next((one.value for one in node.metadata_props if one.key == SCOPES), "")
        # onnxscript 0.5 forgets the scope of what it fuses.
        return f"'{BODY}" in scope or any(name.startswith(BODY) for name in node.input)

    return [node.name for node in onnx.load(model).graph.node if is_of_it(node)]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands pictures to onnxruntime, a batch at a time."""

    def __init__(self, pictures: Pictures) -> None:
        self.batches = batches(pictures, AT_ONCE)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None when all were."""
        images = next(self.batches, None)
        return None if images is None else {PICTURES: images}
