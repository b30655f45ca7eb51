"""Soft labels: the targets that a table of out-of-fold predictions makes, and what it must be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.soft_labels import soft_targets
from paddy_lightning.errors import UserError

CLASSES = ["a", "fold", "loss"]  # as columns before them are called
FOLDS = 3


def pictures(fold: int | None = 0) -> pd.DataFrame:
    """Twelve pictures; those of a fold validate."""
    rows = range(12)
    table = pd.DataFrame({"file": [f"{row}.jpg" for row in rows]})
    table["label"] = [CLASSES[row % 3] for row in rows]
    table["is_valid"] = [row // 4 == fold for row in rows]
    return table


def answers() -> pd.DataFrame:
    """Out of fold, of these pictures."""
    table = pictures()[["file", "label"]]
    said = np.random.default_rng(0).dirichlet([1, 1, 1], len(table)).astype(np.float32)
    table["predicted"] = [CLASSES[best] for best in said.argmax(1)]
    table["confidence"], table["loss"] = said.max(1), 1.0
    table["fold"] = np.arange(12) // 4
    return pd.concat([table, pd.DataFrame(said, columns=CLASSES)], axis=1).sort_values("file")


def written(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame] | None = None) -> Path:
    table = answers()
    write_table(folder / "oof.csv", change(table) if change else table)
    return folder / "oof.csv"


def test_a_target_is_the_label_and_in_part_what_was_said(tmp_path: Path) -> None:
    """In the table's order, whatever the file's; of pictures that validate, the label alone."""
    table = pictures()
    targets = soft_targets(written(tmp_path), table, CLASSES, 0.3)
    said = answers().sort_index().iloc[:, 6:].to_numpy()
    plain = np.eye(3)[np.arange(12) % 3]
    expected = np.where(table[["is_valid"]], plain, 0.7 * plain + 0.3 * said)
    assert targets.dtype == torch.float32
    np.testing.assert_allclose(targets, expected, atol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    turned = soft_targets(written(tmp_path), table, CLASSES[::-1], 0.3)
    torch.testing.assert_close(turned.flip(1), targets)


def test_pictures_that_none_of_the_networks_saw_may_validate(tmp_path: Path) -> None:
    new = pd.DataFrame({"file": ["x.jpg", "y.jpg"], "label": "a", "is_valid": True})
    table = pd.concat([pictures(None), new], ignore_index=True)
    assert len(soft_targets(written(tmp_path), table, CLASSES, 0.3)) == 14


def test_that_the_error_flatters_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    soft_targets(written(tmp_path), pictures(2), CLASSES, 0.3)
    assert "the error flatters" in caplog.text


@pytest.mark.parametrize("valid", [[0], [0, 1, 2, 4], [0, 1, 2, 3, 4], range(8), [4, 5, 6]])
def test_other_folds_are_refused(valid: list[int], tmp_path: Path) -> None:
    """Less than a fold, more than one, and as many pictures of several."""
    table = pictures(None)
    table.loc[list(valid), "is_valid"] = True
    with pytest.raises(UserError, match=r"validate here are no fold of that table: give fold="):
        soft_targets(written(tmp_path), table, CLASSES, 0.3)
    new = pd.DataFrame({"file": ["x.jpg"], "label": "a", "is_valid": True})
    with pytest.raises(UserError, match="are no fold of that table"):
        soft_targets(written(tmp_path), pd.concat([pictures(), new]), CLASSES, 0.3)


def halved(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(a=table["a"] / 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns="label"), "no table of out-of-fold predictions"),
        (lambda table: pd.concat([table, table[:1]]), "no table of out-of-fold predictions"),
        (lambda table: table[table.iloc[:, 5] == 1], "no table of out-of-fold predictions"),
        (lambda table: table.iloc[:, [0, 1, 2, 3, 4, 6, 7, 8]], "no table of out-of-fold"),
        (lambda table: table.iloc[:, [0, 1, 3, 6, 7, 8]], "no table of out-of-fold predictions"),
        (lambda table: table.rename(columns={"a": "b"}), "other classes: b, fold, loss, and not a"),
        (lambda table: table.iloc[:, :8].assign(z=table.iloc[:, 8]), "has other classes"),
        (lambda table: table.drop(columns="a"), "12 rows are no probabilities"),
        (halved, r"11 rows are no probabilities of the classes, .*: 0\.jpg, 10\.jpg, 11\.jpg"),
        (lambda table: table.assign(a=-table["a"]), "no probabilities"),
        (lambda table: table.assign(a=np.nan), "no probabilities"),
        (lambda table: table.assign(a="surely"), "no probabilities"),
        (lambda table: table[table["file"] != "7.jpg"], "1 of 8 pictures to train on have no row"),
    ],
)
def test_another_table_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], said: str, tmp_path: Path
) -> None:
    """Among them a run's own ``valid_predictions.csv`` and ``predictions.csv``."""
    with pytest.raises(UserError, match=rf"soft_labels=.*oof\.csv: .*{said}"):
        soft_targets(written(tmp_path, change), pictures(), CLASSES, 0.3)


def test_no_file_and_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"soft_labels=.*none\.csv: no such file"):
        soft_targets(tmp_path / "none.csv", pictures(), CLASSES, 0.3)
    for content in (b"", b"\0", b"x\n"):
        (tmp_path / "odd.csv").write_bytes(content)
        with pytest.raises(UserError, match=r"odd\.csv: (cannot be read|is no table)"):
            soft_targets(tmp_path / "odd.csv", pictures(), CLASSES, 0.3)
