"""Names of classes and runs, whatever they hold, as text that can be printed and drawn."""

import unicodedata
from functools import cache
from typing import Any

UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are not UTF-8, line breaks
LONGEST = 32  # letters of a name in a figure, by their width
FONT = "DejaVu Sans"  # matplotlib brings it
NO_LETTERS = {"Last Resort High-Efficiency"}  # fonts that draw a box for each


def printable(text: object) -> str:
    r"""A text on one line that any file or terminal takes: ``\n``, ``\udcff`` for what is not."""
    letters = str(text)
    return "".join(_escape(c) if unicodedata.category(c) in UNPRINTABLE else c for c in letters)


def legible(text: object, longest: int = LONGEST) -> str:
    r"""A text as it can be drawn here: ``\u6c34`` for letters no installed font has.

    One too long is cut in its middle, since names often differ in their last letters.
    """
    parts = [c if _font_of(c) else _escape(c) for c in printable(text)]
    if width(*parts) <= longest:
        return "".join(parts)
    head, tail = _fitting(parts, longest // 2), _fitting(parts[::-1], (longest - 1) // 2)
    return "".join([*head, "…", *tail[::-1]])


def width(*texts: str) -> int:
    """How many letters wide they are drawn together; some, such as Chinese ones, count as two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in "".join(texts))


def lettering(*texts: object) -> dict[str, Any]:
    """How matplotlib is to draw such texts: never as mathematics, in fonts that have the letters.

    Returns:
        Arguments of any text of a figure.
    """
    others = {_font_of(c) for text in texts for c in printable(text)} - {None, FONT}
    return {"parse_math": False, "fontfamily": [FONT, *sorted(map(str, others))]}


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _fitting(parts: list[str], longest: int) -> list[str]:
    """The first parts, which may be escapes, that are no wider together."""
    count = len(parts)
    while width(*parts[:count]) > longest:
        count -= 1
    return parts[:count]


@cache
def _font_of(letter: str) -> str | None:
    """The family of a font that has it, of those installed; None of none."""
    from matplotlib.font_manager import fontManager, get_font

    own = [font for font in fontManager.ttflist if font.name == FONT]
    plain = [font for font in fontManager.ttflist if font.style == "normal"]
    for font in [*own, *sorted(plain, key=lambda font: (abs(int(font.weight) - 400), font.name))]:
        if font.name in NO_LETTERS:
            continue
        try:
            if get_font(font.fname).get_char_index(ord(letter)):
                return str(font.name)
        except (OSError, RuntimeError):  # deleted since, or of a kind that cannot be drawn
            continue
    return None
