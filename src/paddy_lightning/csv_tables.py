"""Tables as CSV files: written whole, read with every value as the text it is."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from paddy_lightning.atomic import written_whole
from paddy_lightning.errors import UserError


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table as a CSV file, whole; any name a file system allows survives it."""
    texts = table.select_dtypes(exclude="number")
    quoting = quoting_for([*table.columns, *texts.to_numpy().flat])
    with written_whole(path) as temporary:
        table = with_short_digits(table, quoting)
        table.to_csv(temporary, index=False, errors="surrogateescape", quoting=quoting)


def quoting_for(texts: Iterable[object]) -> Literal[0, 2]:
    """Which of csv's ways a table with these texts is written in."""
    # By itself csv puts no quotes around a lone carriage return, and readers end a line there.
    odd = any("\r" in str(text) for text in texts)
    return csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL


def with_short_digits(table: pd.DataFrame, quoting: int) -> pd.DataFrame:
    """What to write: where it quotes, pandas 2 would give float32 the digits of float64."""
    if quoting != csv.QUOTE_NONNUMERIC:
        return table
    short = table.select_dtypes("float32")
    columns = {
        str(name): pd.Series([*short[name].to_numpy()], table.index, object) for name in short
    }
    return table.assign(**columns)


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """A CSV file with every value as the text it is ("NA" is a class like others).

    Raises:
        UserError: There is none, or it is not such a table.
    """
    try:
        if b"\0" in path.read_bytes():  # as UTF-16 has; pandas 2 ends a value there
            raise ValueError("it is not text in UTF-8; save it so")
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape", **options
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table ({error})") from error
