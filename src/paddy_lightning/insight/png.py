"""Pixels -> a PNG file and the same in TensorBoard, encoded once: twice would be slow."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paddy_lightning.atomic import written_whole

LEVEL = 1  # of compression: a tenth larger than by default, in a fifth of the time


def write_png(path: Path, pixels: np.ndarray, writer: Any = None, step: int = 0) -> None:
    """Write a figure, and log it under the file's name.

    Args:
        path: The file, whole but for a power cut: training does not wait for its disk.
        pixels: uint8 [height, width, 3].
        writer: torch's ``SummaryWriter``; None for none.
        step: To log it at.
    """
    encoded = BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG", compress_level=LEVEL)
    with written_whole(path, waits=False) as temporary:
        temporary.write_bytes(encoded.getvalue())
    if writer:
        from tensorboard.compat.proto.summary_pb2 import Summary

        height, width = pixels.shape[:2]
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded.getvalue()
        )
        value = Summary.Value(tag=path.stem, image=image)
        writer.file_writer.add_summary(Summary(value=[value]), step)
