"""What the page of a run says of its validation pictures, in a real browser, against Python.

    python -m benchmarks.page outputs/RUN [outputs/RUN ...] [--picture docs/page.png]

Needs chromium, chromedriver and selenium. Each run has been through ``paddy page``.
"""

import argparse
import io
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from paddy_lightning.page.serve import server_of
from paddy_lightning.runs.calibration import temperature_of, tempered
from paddy_lightning.runs.run_folder import read_predictions
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.runs.whereabouts import data_of

PHONE, DESK = (844, 390), (800, 1280)  # height and width of a window
ASK = """
const [done] = arguments;
const { predict } = await import("/page.js");
const started = performance.now();
const answers = [];
for (const file of document.getElementById("asked").files) {
    answers.push((await predict(file)).probabilities);
}
done({ answers, ms: (performance.now() - started) / answers.length });
"""


def found() -> tuple[str, str] | None:
    """Chromium and its driver, where this machine has them."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


@contextmanager
def window(size: tuple[int, int] = PHONE) -> Iterator[Any]:
    """A Chromium without a screen, of a profile of its own."""
    from selenium import webdriver

    programs = found()
    if programs is None:
        raise SystemExit("chromium and chromedriver are not on this machine")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = programs[0]
        for flag in (
            *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"),
            *("disable-background-networking", "disable-component-update", "disable-sync"),
            *("no-first-run", f"user-data-dir={profile}"),
        ):
            options.add_argument(f"--{flag}")
        driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
        screen = {"height": size[0], "width": size[1], "deviceScaleFactor": 2}
        screen["mobile"] = size[0] > size[1]
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.set_script_timeout(300)
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a page, while it is served."""
    with server_of(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def until(driver: Any, said: str, seconds: float = 120) -> str:
    """Wait for words in the line that tells how it goes."""
    deadline = time.monotonic() + seconds
    while said not in (told := driver.find_element("id", "status").text):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{said!r} was not said, but {told!r}: {driver.get_log('browser')}"
            )
        time.sleep(0.1)
    return str(told)


def ask(driver: Any, files: Sequence[Path]) -> tuple[np.ndarray, float]:
    """Probabilities [N, classes] of pictures by the page's own function, and ms a picture."""
    driver.execute_script(
        "document.body.insertAdjacentHTML('beforeend',"
        " '<input type=file id=asked multiple aria-label=asked>')"
    )
    driver.find_element("id", "asked").send_keys("\n".join(map(str, files)))
    told = driver.execute_async_script(f"(async () => {{{ASK}}}).apply(null, arguments)")
    driver.execute_script("document.getElementById('asked').remove()")
    return np.array(told["answers"]), float(told["ms"])


def compared(run: Path) -> dict[str, Any]:
    """A row of the table: what differs between the page and ``valid_predictions.csv``."""
    checkpoint = load_checkpoint(run)
    facts = checkpoint["hyper_parameters"]
    valid = read_predictions(run / "valid_predictions.csv")
    root, names = data_of(facts).root, facts["class_names"]
    with served(run / "page") as address, window() as driver:
        driver.get(address)
        until(driver, "Ready")
        answers, ms = ask(driver, [root / file for file in valid["file"]])
    said = tempered(valid[names].to_numpy(), temperature_of(checkpoint))
    apart = np.abs(answers - said).max(1)
    labels = np.array(names)[answers.argmax(1)]
    return {
        "resize": str(facts["resize"]),
        "presize": "x".join(map(str, facts["presize"])),
        "draft": facts["draft"],
        "pictures": len(valid),
        "labels that differ": int((labels != valid["predicted"]).sum()),
        "largest difference": f"{apart.max():.1e}",
        "mean of largest": f"{apart.mean():.1e}",
        "error in Python": f"{(valid['predicted'] != valid['label']).mean():.4f}",
        "error in the page": f"{(labels != valid['label']).mean():.4f}",
        "ms a picture": f"{ms:.0f}",
    }


def picture(run: Path, path: Path) -> None:
    """The page on a phone, with its answer to the first validation picture, as a small PNG."""
    root = data_of(load_checkpoint(run)["hyper_parameters"]).root
    first = read_predictions(run / "valid_predictions.csv")["file"][0]
    with served(run / "page") as address, window() as driver:
        driver.get(address)
        until(driver, "Ready")
        driver.find_element("id", "photos").send_keys(str(root / first))
        until(driver, " %")
        time.sleep(1.5)  # it scrolls
        shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    shot.resize(PHONE[::-1], Image.Resampling.LANCZOS).quantize(256).save(path, optimize=True)


def main() -> None:
    """Print the table, and keep a picture of the first run's page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path)
    told = parser.parse_args()
    if told.picture:
        picture(told.runs[0], told.picture)
    print(pd.DataFrame([compared(run) for run in told.runs]).to_markdown(index=False))


if __name__ == "__main__":
    main()
