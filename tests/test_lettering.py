"""Names in any script, as text that can be printed and drawn."""

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from odd_names import ANY_NAME, NAMES

from paddy_lightning import lettering
from paddy_lightning.insight import figures
from paddy_lightning.insight.comparison_page import plot
from paddy_lightning.lettering import LONGEST, legible, printable, width

SCRIPTS = [
    "水稻",
    "سرطان",
    "рис",
    "ข้าว",
    "🌾",
    "$^$",
    r"a$\x$",
    "caf\udce9",
    "x" * 300,
    "\x00",
    " ",
]


@given(ANY_NAME)
def test_any_name_is_one_line_that_can_be_written(name: str) -> None:
    shown = printable(name)
    assert len(shown.splitlines()) <= 1 and shown.encode()
    assert width(legible(name)) <= LONGEST


def test_what_is_escaped_and_what_is_not() -> None:
    assert printable("caf\udce9 水\n") == r"caf\udce9 水\n"
    assert legible("рис, café, سرطان") == "рис, café, سرطان"  # matplotlib's own font has them
    assert legible("\U000e1234") == r"\U000e1234"  # and none has this
    assert legible("bacterial_panicle_blight_of_rice_in_the_field") == (
        "bacterial_panicl…ce_in_the_field"
    )
    cut = legible("\U000e1234" * 9)
    assert cut == r"\U000e1234…\U000e1234"  # and never within an escape


def test_letters_come_from_any_font_that_has_them() -> None:
    """As for Chinese where a font for it is installed: here a sign of STIX."""
    fonts = {entry.name: entry for entry in font_manager.fontManager.ttflist}
    # The system may have one of its own beside matplotlib's, with more letters.
    ours = [e.fname for e in font_manager.fontManager.ttflist if e.name == "DejaVu Sans"]
    only_stix = next(
        chr(code)
        for code in font_manager.get_font(fonts["STIXGeneral"].fname).get_charmap()
        if 0x2000 < code < 0xD800
        and not any(font_manager.get_font(file).get_char_index(code) for file in ours)
    )
    assert legible(only_stix) == only_stix
    own, other = lettering.lettering(only_stix)["fontfamily"]
    files = {entry.fname for entry in font_manager.fontManager.ttflist if entry.name == other}
    assert own == "DejaVu Sans"
    assert any(font_manager.get_font(file).get_char_index(ord(only_stix)) for file in files)
    assert lettering.lettering("abc") == {"parse_math": False, "fontfamily": ["DejaVu Sans"]}


def all_figures(names: list[str]) -> list[Figure]:
    """Every figure that shows names that users gave."""
    count = len(names)
    matrix = pd.DataFrame(np.eye(count, dtype=int) * 3 + 1, names, names)
    rows = pd.DataFrame({"label": names, "predicted": names[::-1], "confidence": 0.5, "loss": 1.0})
    picture = np.zeros((32, 24, 3), np.uint8), np.ones((32, 24), np.float32)
    runs = pd.DataFrame({"run": names, "status": "done", "error_rate": 0.2})
    return [
        figures.confusion_matrix(matrix),
        figures.top_losses(rows.iloc[:9], [picture] * min(9, count)),
        plot(runs.assign(error_low=0.1, error_high=0.4)),
    ]


@pytest.mark.parametrize("names", [SCRIPTS, [f"{n}-水$" for n in range(25)], [*"ab"]])
def test_every_figure_takes_any_name(names: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for figure in all_figures(names):
            figure.savefig(io.BytesIO(), format="png", dpi=30)


@given(st.lists(ANY_NAME, min_size=9, max_size=9))
@example(NAMES[:9])
@example(NAMES[-9:])
@settings(max_examples=3)
def test_titles_take_any_name(names: list[str]) -> None:
    rows = pd.DataFrame({"label": names, "predicted": names, "confidence": 0.5, "loss": 1.0})
    picture = np.zeros((8, 6, 3), np.uint8), np.ones((8, 6), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figures.top_losses(rows, [picture] * 9).savefig(io.BytesIO(), format="png", dpi=30)


def test_what_cannot_be_drawn_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Figure:
        raise ValueError("no such glyph")

    drawings = {"bad": fails, "none": lambda: None, "good": lambda: figures.new_figure(1, 1)}
    figures.save_figures(tmp_path, drawings)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["good.png"]
    assert len(caplog.messages) == 1
    assert "figures/bad.png could not be drawn: ValueError: no such glyph" in caplog.messages[0]
