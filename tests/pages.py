"""The pages of the documentation, what in them can be typed, and a way to type it in small."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "road_to_the_top.ipynb"
OTHERS = ("faq.md", "extend.md")  # in tests of their own
SMALL = {
    "weights": "none",
    "presize": "48x40",
    "size": "32",
    "epochs": "1",
    "batch_size": "16",
    "num_workers": "0",
}
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
    """What a page says to type: lines of its blocks, and inline ``paddy ...``, each once."""
    plain = FENCE.sub("", page)
    indented = "\n".join(re.findall(r"^ {4}(.*)$", plain, re.M))
    lines = "\n".join([*fenced(page, "bash"), indented]).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`(paddy [^`]*=[^`]*|python [^`]+\.py [^`]*)`", plain)
    typed = [line.split("  # ")[0].strip() for line in [*lines, *inline]]
    return list(dict.fromkeys(line for line in typed if line))


def all_commands() -> list[tuple[str, str]]:
    """(page, command), but of the pages whose commands are refused, or need a change first."""
    pages = {name: text for name, text in read_pages().items() if name not in OTHERS}
    return [(name, command) for name, text in pages.items() for command in commands(text)]


def script(
    folder: Path, command: str, package: Path = ROOT, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Type a command in a folder, with the package and the scripts of a checkout."""
    program, name, *words = shlex.split(command)
    start = ["-m", "paddy_lightning", name] if program == "paddy" else [str(package / name)]
    path = f"{package / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    result = subprocess.run(
        [sys.executable, *start, *words],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not check or result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


def in_small(command: str) -> str:
    """The same with small sizes, as far as it says nothing else of them."""
    small = {"arch": "mobilenetv3_small_050", **SMALL}
    if command.split()[1] not in ("train", "train.py", "lr-find", "survey", "probe"):
        small = {"num_workers": "0"} if " predict" in command else {}
    said = {word.split("=")[0] for word in shlex.split(command)}
    if "start" in said:
        small.pop("weights")
    return " ".join([command, *(f"{key}={small[key]}" for key in small if key not in said)])
