"""A real TensorBoard in a real browser (Chromium and its driver, where the machine has them)."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import small

from paddy_lightning.training.train import train

pytestmark = pytest.mark.slow
DEEP_TEXT = """
const texts = [];
const walk = node => {
    if (node.shadowRoot) walk(node.shadowRoot);
    if (node.nodeType === Node.TEXT_NODE) texts.push(node.textContent.trim());
    node.childNodes.forEach(walk);
};
walk(document.body);
return texts.filter(text => text).join("\\n");
"""  # all that a page of web components says


@pytest.fixture(scope="module")
def board(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TensorBoard over two runs of different archs."""
    outputs = tmp_path_factory.mktemp("outputs")
    for arch in ("mobilenetv3_small_050", "resnet10t"):
        train(small(stripes, arch=arch, epochs=1), outputs / arch)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={outputs}", f"--port={port}"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://localhost:{port}/"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "TensorBoard did not come up"
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("TensorBoard in a browser: chromium and chromedriver are not on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("no-first-run", "window-size=1400,1000", f"user-data-dir={profile}"),
    ):
        options.add_argument(f"--{flag}")
    window = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield window
    window.quit()


@pytest.mark.parametrize(
    ("tab", "said"),
    [
        ("timeseries", ["error_rate", "valid_loss", "train_loss", "resnet10t"]),
        ("images", ["confusion_matrix", "top_losses", "augmented_batch"]),
        ("hparams", ["final/error_rate", "arch", "mobilenetv3_small_050", "resnet10t"]),
        ("text", ["interpretation", "macro-F1"]),
    ],
)
def test_the_board_shows_the_runs(board: str, browser: Any, tab: str, said: list[str]) -> None:
    browser.get(f"{board}#{tab}")
    browser.refresh()  # a change of the fragment alone loads nothing
    deadline = time.monotonic() + 60
    text = ""
    while time.monotonic() < deadline and not all(word in text for word in said):
        time.sleep(1)
        text = browser.execute_script(DEEP_TEXT)
    if folder := os.environ.get("SCREENSHOTS"):
        time.sleep(3)
        browser.save_screenshot(str(Path(folder, f"tensorboard_{tab}.png")))
    assert [word for word in said if word not in text] == []
