"""``paddy page`` without a browser: what is in the folder, what is refused, what is served."""

import json
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from paddy_lightning.command_configs import PageConfig
from paddy_lightning.errors import UserError
from paddy_lightning.page import onnxruntime_web
from paddy_lightning.page.card import sure_from
from paddy_lightning.page.icons import icon
from paddy_lightning.page.page import run_page, shown_names, write_page
from paddy_lightning.page.serve import server_of

CLASSES = ["across", "down", "slanted"]


@pytest.fixture
def run(run_with_page: Path) -> Path:
    return run_with_page


@pytest.fixture
def page(run_with_page: Path) -> Path:
    return run_with_page / "page"


def test_a_page_is_whole_and_names_no_other_place(page: Path) -> None:
    index = (page / "index.html").read_text()
    assert "<title>Which stripes?</title>" in index and "$" not in index
    assert "connect-src 'self'" in index and "http" not in index.replace("http-equiv", "")
    told = json.loads((page / "model.json").read_text())
    assert told["class_names"] == CLASSES and told["presize"] == [48, 40] and not told["draft"]
    assert told["shown"] == ["Across", "Down", "Slanted"]
    manifest = json.loads((page / "manifest.webmanifest").read_text())
    assert manifest["display"] == "standalone"
    assert all((page / one["src"]).is_file() for one in manifest["icons"])
    licences = (page / "LICENSES.txt").read_text()
    assert "Apache License" in licences and "MIT License" in licences


def test_the_service_worker_keeps_what_the_page_loads(page: Path) -> None:
    script = (page / "sw.js").read_text()
    (line,) = [line for line in script.splitlines() if line.startswith("const FILES")]
    kept = json.loads(line.removeprefix("const FILES = ").removesuffix(";"))
    not_kept = {"index.html", "sw.js", "README.md", "LICENSES.txt"}
    assert {*kept} == {path.name for path in page.iterdir()} - not_kept | {"./"}


def test_other_contents_are_another_version(page: Path, run: Path) -> None:
    before = (page / "sw.js").read_text()
    write_page(run, "Other words")
    assert (page / "sw.js").read_text() != before
    write_page(run, "Which stripes?")
    assert (page / "sw.js").read_text() == before


def test_the_card_says_what_the_run_says_and_no_place_on_this_machine(
    page: Path, run: Path
) -> None:
    card = (page / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["sdk"] == "static" and head["license"] == "other"
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['error_rate']:.1%}" in card and f"{summary['error_low']:.1%}" in card
    assert str(run) not in card and str(run.parent) not in card


def test_the_licence_is_the_repositorys() -> None:
    own = ROOT / "src" / "paddy_lightning" / "page" / "static" / "apache-2.0.txt"
    assert own.read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("label,name\ndown,Runter\n", "has no column shown"),
        ("label,shown\nup,Hinauf\n", "up is no class; there is across, down, slanted"),
        ("label,shown\ndown, \n", "shows nothing for down"),
        ("label,shown\ndown,a\ndown,b\n", "names down twice"),
    ],
)
def test_names_that_do_not_fit_are_told(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "names.csv").write_text(table)
    with pytest.raises(UserError, match=said):
        shown_names(CLASSES, tmp_path / "names.csv")


def test_names_are_shown_as_told_and_else_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("label,shown\ndown,नीचे\n", "utf-8")
    assert shown_names(CLASSES, tmp_path / "names.csv") == ["Across", "नीचे", "Slanted"]
    assert shown_names(["leaf_spot"], None) == ["Leaf spot"]


def test_a_folder_with_other_files_is_left_alone(run: Path, page: Path) -> None:
    (page / "mine.txt").write_text("mine")
    try:
        with pytest.raises(UserError, match=r"mine\.txt: is no part of a page"):
            write_page(run)
    finally:
        (page / "mine.txt").unlink()
    assert (page / "index.html").is_file()


def test_a_run_must_be_named_and_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="say which run"):
        run_page(PageConfig())
    with pytest.raises(UserError, match="not a run folder"):
        run_page(PageConfig(run=str(tmp_path)))


def test_a_wrong_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "paddy-lightning").mkdir()
    (tmp_path / "paddy-lightning" / onnxruntime_web.PACKAGE).write_bytes(b"something else")
    with pytest.raises(UserError, match="is not the package it should be"):
        onnxruntime_web.find_runtime()


def test_it_is_sure_from_where_nine_in_ten_are_right() -> None:
    def valid(*right: bool) -> pd.DataFrame:
        confidence = [1 - row / 100 for row in range(len(right))]
        said = ["a" if one else "b" for one in right]
        return pd.DataFrame({"label": "a", "predicted": said, "confidence": confidence})

    assert sure_from(valid(*[True] * 30)) == pytest.approx(0.71)
    assert sure_from(valid(*[True] * 18, *[False] * 9)) == pytest.approx(0.81)
    assert sure_from(valid(*[True, False] * 20)) is None
    assert sure_from(valid(*[True] * 9)) is None  # too few to tell


def test_an_icon_fills_its_square() -> None:
    drawn = icon(192)
    assert drawn.size == (192, 192) and len(drawn.getcolors(192 * 192) or []) > 3


def test_files_are_served_with_the_types_that_browsers_want(page: Path) -> None:
    kinds = {
        "ort-wasm-simd-threaded.wasm": "application/wasm",
        "ort.wasm.bundle.min.mjs": "text/javascript",
        "manifest.webmanifest": "application/manifest+json",
    }
    with server_of(page, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, kind in kinds.items():
            address = f"http://127.0.0.1:{server.server_port}/{name}"
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert answer.headers["Content-Type"] == kind
        server.shutdown()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
def test_ctrl_c_ends_serving_quietly(page: Path) -> None:
    code = f"from pathlib import Path; from paddy_lightning.page.serve import serve;\
 import logging; logging.basicConfig(level=20, format='%(message)s'); serve(Path({str(page)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "http://127.0.0.1:" in process.stderr.readline()
    process.send_signal(2)
    assert process.wait(10) == 0 and process.stderr.read() == ""
