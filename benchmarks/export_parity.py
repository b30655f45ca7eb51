"""Exported networks against their checkpoints, by arch, data and resize.

    python -m benchmarks.export_parity demo PHOTOS/bean [--archs resnet26d,...] [--int8]

One frozen epoch each; the arch of the demo starts from its pretrained weights, the others from
none: what is asked is whether both forms say the same, not how well a network does.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from paddy_lightning.choices import DataConfig, Resize, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.export.export import FOLDER, INT8, MODEL, PARITY, export_run
from paddy_lightning.quiet import small_talk_left_out
from paddy_lightning.training.train import train

PRETRAINED = "tf_efficientnet_lite0"
ARCHS = (
    *(PRETRAINED, "mobilenetv3_large_100", "resnet26d", "convnext_tiny"),
    "vit_tiny_patch16_224",
)
FORMS = {"float32": MODEL, "int8": INT8}


def config_of(arch: str, place: str, resize: Resize) -> TrainConfig:
    """A short run; pictures are higher than wide, so that the three ways differ."""
    source, root = (Source.demo, None) if place == "demo" else (Source.folder, place)
    return TrainConfig(
        data=DataConfig(source, root),
        arch=arch,
        weights="pretrained" if arch == PRETRAINED else "none",
        resize=resize,
        presize=(192, 144),
        size=(128, 96),
        epochs=0,
        lr=1e-2,
        batch_size=16,
    )


def rows_of(run: Path, where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each form that a run's proof tells of."""
    proof = json.loads((run / FOLDER / PARITY).read_text())
    before = proof["forms"]["checkpoint"]
    told = {"float32": proof["forms"][MODEL], "int8": proof.get("int8")}
    for form, found in told.items():
        if found is None:
            continue
        file = run / FOLDER / FORMS[form]
        yield where | {
            "form": form,
            "labels that differ": f"{found['labels_differ']} of {proof['pictures']}",
            "largest difference": f"{found['largest_difference']:.1e}",
            "error, checkpoint": f"{before['error_rate']:.4f}",
            "error, export": f"{found['error_rate']:.4f}",
            "p": f"{found['p']:.2f}" if "p" in found else "",
            "kept": {True: "yes", False: "no", None: "yes"}[found.get("kept")],
            "ms, checkpoint": f"{before['ms_a_picture']:.1f}",
            "ms, export": f"{found['ms_a_picture']:.1f}",
            "MB": f"{file.stat().st_size / 1e6:.1f}" if file.exists() else "",
        }


def measured(archs: list[str], places: list[str], int8: bool) -> Iterator[dict[str, Any]]:
    """Train, export and compare, a run at a time."""
    for arch in archs:
        for place in places:
            for resize in Resize:
                where = {"arch": arch, "photos": Path(place).name, "resize": str(resize)}
                with tempfile.TemporaryDirectory() as folder, small_talk_left_out():
                    run, started = Path(folder, "run"), time.monotonic()
                    train(config_of(arch, place, resize), run)
                    try:
                        export_run(run, int8)
                    except UserError as error:
                        print(f"{where}: {error}", flush=True)
                        if not (run / FOLDER / PARITY).exists():
                            continue
                    for row in rows_of(run, where):
                        print(*row.values(), sep=" | ", flush=True)
                        yield row
                print(f"{time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    """Print a row as soon as it is there, and the whole table at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="+", help="demo, or a folder with one folder a class")
    parser.add_argument("--archs", type=lambda text: text.split(","), default=ARCHS)
    parser.add_argument("--int8", action="store_true")
    told = parser.parse_args()
    table = pd.DataFrame(measured(told.archs, told.places, told.int8))
    print(table.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
