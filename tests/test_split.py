import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddy_lightning.split import random_split


def table(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"file": [f"{row:05}.jpg" for row in range(rows)]})


@pytest.mark.parametrize("rows", [600, 1000, 10407])
def test_the_same_pictures_validate_as_in_fastai(golden: Path, rows: int) -> None:
    recorded = json.loads((golden / "random_splitter_seed42.json").read_text())
    expected = recorded["splits"][str(rows)]
    valid = np.flatnonzero(random_split(table(rows), seed=42)["is_valid"])
    assert len(valid) == expected["valid_len"]
    digest = hashlib.sha256(valid.astype("<i8").tobytes()).hexdigest()
    assert digest == expected["valid_sorted_sha256_int64_le"]


@given(st.integers(2, 300), st.integers(0, 2**31))
def test_a_fifth_validates_and_the_table_stays_as_it_is(rows: int, seed: int) -> None:
    before = table(rows)
    after = random_split(before, seed=seed)
    assert after["is_valid"].sum() == max(1, int(0.2 * rows))
    assert "is_valid" not in before
    assert after["file"].equals(before["file"])
    assert after.equals(random_split(before, seed=seed))


def test_the_split_is_apart_from_the_global_random_numbers() -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    random_split(table(10))
    assert torch.equal(torch.rand(1), expected)
