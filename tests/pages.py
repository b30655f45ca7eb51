"""The pages of the documentation, and what in them can be typed."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "road_to_the_top.ipynb"
OTHERS = ("faq.md", "extend.md")  # in tests of their own
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def read_pages() -> dict[str, str]:
    """Every page by its name; the notebook as the text of its Markdown cells."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    pages = {file.name: file.read_text() for file in files}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return pages | {NOTEBOOK.name: "\n\n".join(texts)}


def fenced(page: str, language: str) -> list[str]:
    """The blocks of one language."""
    return [text for name, text in FENCE.findall(page) if name == language]


def commands(page: str) -> list[str]:
    """What a page says to type: lines of its blocks, and inline ``python ...``, each once."""
    plain = FENCE.sub("", page)
    indented = "\n".join(re.findall(r"^ {4}(.*)$", plain, re.M))
    lines = "\n".join([*fenced(page, "bash"), indented]).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`(python [^`]+\.py[^`]*)`", plain)
    typed = [line.split("  # ")[0].strip() for line in [*lines, *inline]]
    return list(dict.fromkeys(line for line in typed if line))


def all_commands() -> list[tuple[str, str]]:
    """(page, command), but of the pages whose commands are refused, or need a change first."""
    pages = {name: text for name, text in read_pages().items() if name not in OTHERS}
    return [(name, command) for name, text in pages.items() for command in commands(text)]
