"""What was measured -> ``benchmarks/RESULTS.md`` and the table of README.md."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

RESULTS = Path("benchmarks/RESULTS.md")
README = Path("README.md")
MARKS = "<!-- measured by make bench -->", "<!-- until here -->"


def write(table: pd.DataFrame, notes: Sequence[str], machine: str, minutes: float) -> None:
    """All of it to the one page, and what has an aim to the other.

    Args:
        table: Rows as ``Pair.row`` gives them.
        notes: Paragraphs.
        machine: A sentence on what it was measured on.
        minutes: That it took.
    """
    told = [
        "# Measured",
        "Made by `make bench`. All sides run in turn in one process on the same files, each round"
        " another first; the ratio is other / this (this / other where it says against the bare"
        " model), the median of the rounds and its spread. Pictures are drawn, 640x480 JPEG files.",
        f"{machine} {minutes:.0f} minutes in all.",
        table.to_markdown(index=False),
        *notes,
    ]
    RESULTS.write_text("\n\n".join(told) + "\n")
    before, _, rest = README.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    rows = table[table["aim"] != ""].drop(columns="aim").to_markdown(index=False)
    README.write_text("\n\n".join([before + MARKS[0], machine, rows, MARKS[1] + after]))
