"""What was measured -> a page, and of ``make bench`` the table of README.md."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.paired import Pair

RESULTS = Path("benchmarks/RESULTS.md")
README = Path("README.md")
MARKS = "<!-- measured by make bench -->", "<!-- until here -->"


def keep(found: Pair | str, rows: list[dict[str, str]], notes: list[str]) -> None:
    """A row of the table or a paragraph, and on the terminal at once."""
    if isinstance(found, Pair):
        rows.append(found.row())
        print(*rows[-1].values(), sep="  |  ", flush=True)
    else:
        notes.append(found)
        print(found, flush=True)


def write(table: pd.DataFrame, notes: Sequence[str], machine: str, minutes: float) -> None:
    """All of it to the one page, and what has an aim to the other.

    Args:
        table: Rows as ``Pair.row`` gives them.
        notes: Paragraphs.
        machine: A sentence on what it was measured on.
        minutes: That it took.
    """
    told = f"{machine} {minutes:.0f} minutes in all; each side of an epoch or a run is a process."
    write_page(RESULTS, "make bench", table, notes, told)
    before, _, rest = README.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    rows = table[table["aim"] != ""].drop(columns="aim").to_markdown(index=False)
    README.write_text("\n\n".join([before + MARKS[0], machine, rows, MARKS[1] + after]))


def write_page(
    page: Path, command: str, table: pd.DataFrame, notes: Sequence[str], machine: str
) -> None:
    """All of it to one page; the arguments are as above."""
    told = [
        "# Measured",
        f"Made by `{command}`. All sides run in turn on the same files, each round another first;"
        " the ratio is other / this (this / other where it says against the bare model), the"
        " median of the rounds and its spread. Pictures are drawn, 640x480 JPEG files.",
        machine,
        table.to_markdown(index=False),
        *notes,
    ]
    page.write_text("\n\n".join(told) + "\n")
