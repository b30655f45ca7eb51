"""A picture of the page of ``paddy labels``, in a real browser.

    python -m benchmarks.labels_page outputs/labels_.../labels.html docs/labels.png

Needs chromium, chromedriver and selenium.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from benchmarks.page import DESK, window


def main() -> None:
    """Open it from the disk, and keep what is seen as a small PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    told = parser.parse_args()
    with window(DESK) as driver:
        driver.get(told.page.resolve().as_uri())
        shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    small = shot.resize(DESK[::-1], Image.Resampling.LANCZOS)
    small.quantize(256).save(told.picture, optimize=True)


if __name__ == "__main__":
    main()
