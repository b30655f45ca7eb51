"""A picture of the page of ``paddy labels``, in a real browser: drawn leaves, some labels swapped.

    python -m benchmarks.labels_page docs/labels.png

Needs chromium, chromedriver and selenium. Takes a minute, most of it for three small folds.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image

from benchmarks.label_issues import swapped
from benchmarks.our_side import quiet
from benchmarks.page import DESK, window
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import LabelsConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.demo import generate
from paddy_lightning.data.table import open_data
from paddy_lightning.insight.labels_page import run_labels
from paddy_lightning.training.train import train

FOLDS, PICTURES, SHARE = 3, 150, 0.06


def page(folder: Path) -> Path:
    """The page of three folds of drawn leaves, one of which is there twice, by two labels."""
    root = generate(folder / "leaves", PICTURES, 1) / "train_images"
    shutil.copyfile(root / "tungro" / "100010.jpg", root / "hispa" / "copy.jpg")
    files = open_data(DataConfig(Source.folder, str(root))).train["file"]
    table = folder / "table.csv"
    pd.DataFrame({"file": files, "label": swapped(files, SHARE, seed=0)}).to_csv(table, index=False)
    for fold in range(FOLDS):
        config = TrainConfig(
            DataConfig(Source.folder, str(root), str(table)),
            arch="tf_efficientnet_lite0",
            presize=144,
            size=96,
            epochs=4,
            lr=1e-2,
            lr_mult=3,
            batch_size=16,
            fold=fold,
            folds=FOLDS,
        )
        train(config, folder / "runs" / str(fold))
    run_labels(LabelsConfig(str(folder / "runs"), str(folder)), folder)
    return folder / "labels.html"


@quiet()
def main(picture: Path) -> None:
    """Keep what is seen of it as a small PNG."""
    with tempfile.TemporaryDirectory() as place, window(DESK) as driver:
        driver.get(page(Path(place)).as_uri())
        shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    small = shot.resize(DESK[::-1], Image.Resampling.LANCZOS)
    small.quantize(256).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
