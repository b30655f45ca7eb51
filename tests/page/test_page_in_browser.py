"""The page in a real browser (Chromium and its driver, where the machine has them)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.page import ask, served, until
from paddy_lightning.data.presize import open_presized
from paddy_lightning.runs.run_folder import read_config, read_predictions
from paddy_lightning.runtime.model import Model

pytestmark = pytest.mark.slow


@pytest.fixture
def run(run_with_page: Path) -> Path:
    return run_with_page


@pytest.fixture
def page(run_with_page: Path) -> Path:
    return run_with_page / "page"


@pytest.fixture
def opened(driver: Any, page: Path) -> Iterator[Any]:
    with served(page) as address:
        driver.get(address)
        until(driver, "Ready. It works without a network, too.")
        yield driver


def choose(driver: Any, *files: Path) -> None:
    driver.find_element("id", "photos").send_keys("\n".join(map(str, files)))


def photo(run: Path, number: int = 0) -> Path:
    """One of its validation pictures."""
    file = read_predictions(run / "valid_predictions.csv")["file"][number]
    return Path(str(read_config(run).data.root), "train_images", file)


def test_it_says_what_python_says(opened: Any, run: Path) -> None:
    valid = read_predictions(run / "valid_predictions.csv")
    answers, _ = ask(opened, [photo(run, row) for row in range(len(valid))])
    assert np.abs(answers - valid[["across", "down", "slanted"]].to_numpy()).max() < 1e-4


def test_a_photo_gets_its_name_its_bars_and_its_map(opened: Any, run: Path) -> None:
    choose(opened, photo(run))
    until(opened, " %")
    (card,) = opened.find_elements("css selector", ".card")
    assert card.find_element("tag name", "h2").text
    bars = [row.text for row in card.find_elements("css selector", ".bars li")]
    assert len(bars) == 3 and all("%" in row for row in bars)
    seen = card.find_element("css selector", ".map")
    assert seen.is_displayed()
    opened.find_element("css selector", "label[for=looked]").click()
    assert not seen.is_displayed()
    opened.find_element("css selector", "label[for=looked]").click()
    if folder := os.environ.get("SCREENSHOTS"):
        opened.save_screenshot(str(Path(folder, f"page_{opened.get_window_size()['width']}.png")))


def test_thumbs_find_everything_and_nothing_is_wider_than_the_screen(opened: Any) -> None:
    for one in opened.find_elements("css selector", ".button, label[for=looked], footer a"):
        assert one.size["height"] >= 48, one.text
    wide, screen = opened.execute_script("return [document.body.scrollWidth, innerWidth]")
    assert wide <= screen
    inputs = opened.find_elements("css selector", "input")
    assert all(one.accessible_name for one in inputs)


def test_it_works_when_the_network_is_gone(driver: Any, page: Path, run: Path) -> None:
    with served(page) as address:
        driver.get(address)
        until(driver, "Ready. It works without a network, too.")
    driver.get(address)  # nobody serves it any more
    until(driver, "Ready")
    choose(driver, photo(run))
    assert "%" in until(driver, " %")


def test_what_is_no_photo_is_told_in_a_sentence_and_the_rest_goes_on(
    opened: Any, run: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    good = photo(run).read_bytes()
    Image.new("RGB", (20000, 5000)).save(tmp_path / "6.jpg")
    bad = [
        ("1.jpg", b"", "This file is empty."),
        ("2.pdf", b"%PDF-1.4 and so on", "This is a PDF, not a photo."),
        ("3.heic", b"\0\0\0\x24ftypheic" + rng.bytes(900), "This is a HEIC photo"),
        ("4.jpg", b"\xff\xd8\xff\xe0" + rng.bytes(900), "cannot be read as a photo"),
        ("5.jpg", good[: len(good) // 2], "This file is damaged"),
        ("6.jpg", (tmp_path / "6.jpg").read_bytes(), "100 megapixels"),
    ]
    for name, content, _ in bad:
        (tmp_path / name).write_bytes(content)
    choose(opened, *(tmp_path / name for name, _, _ in bad), photo(run))
    assert "%" in until(opened, "7 of 7")
    cards = opened.find_elements("css selector", ".card")
    for card, (_, _, said) in zip(cards, bad, strict=False):
        assert card.find_element("tag name", "h2").text == "Not looked at"
        assert said in card.find_element("css selector", ".words").text
        assert not card.find_element("tag name", "figure").is_displayed()


def test_a_turned_a_clear_and_a_very_long_photo_are_seen_as_python_sees_them(
    opened: Any, run: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)).resize((301, 203))
    turned = Image.Exif()
    files = [tmp_path / name for name in ("turned.jpg", "clear.png", "long.jpg", "grey.png")]
    turned[274] = 6
    whole.save(files[0], exif=turned, quality=95)
    clear = whole.convert("RGBA")
    clear.putalpha(120)
    clear.save(files[1])
    whole.resize((20000, 300)).save(files[2])
    whole.convert("L").save(files[3])
    model = Model(run / "export" / "model.onnx", threads=1)
    expected = model(np.stack([open_presized(file, model.presize) for file in files]))
    answers, _ = ask(opened, files)
    assert np.abs(answers - expected).max() < 0.02


def test_twenty_photos_at_once(opened: Any, run: Path) -> None:
    choose(opened, *(photo(run, row % 12) for row in range(20)))
    until(opened, "20 of 20")
    assert len(opened.find_elements("css selector", ".card:not(.bad)")) == 20
