"""Which labels are suspected, from the folders of runs alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from paddy_lightning.atomic import write_json
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import find_runs
from paddy_lightning.insight.label_issues import COLUMNS, Said, label_issues, out_of_fold, short
from paddy_lightning.runs.run_folder import save_config

CLASSES = ["blast", "hispa", "tungro"]
COUNT = 60


def said_of(labels: list[str], sure: float = 0.94, fold: int = 3) -> Said:
    """Networks that know better: of picture ``n`` the class ``n % 3``, rather surely."""
    rows = len(labels)
    files = [f"{row:03}.jpg" for row in range(rows)]
    table = pd.DataFrame({"file": files, "label": labels, "fold": np.arange(rows) % fold})
    values = np.full((rows, 3), (1 - sure) / 2)
    values[np.arange(rows), np.arange(rows) % 3] = sure
    return Said(table, pd.DataFrame(values, columns=CLASSES), 1)


def swapped(*rows: int) -> list[str]:
    """The right labels, but for some, which are those of the next class."""
    return [CLASSES[(row + (row in rows)) % 3] for row in range(COUNT)]


def write_sweep(folder: Path, labels: list[str], seeds: int = 1, folds: int = 3) -> Path:
    """Runs over all folds, as far as comparing reads them."""
    said = said_of(labels, fold=folds)
    for seed in range(seeds):
        for fold in range(folds):
            run, valid = folder / f"{seed}_{fold}", said.table["fold"] == fold
            table = said.table.loc[valid, ["file", "label"]]
            said_here = said.probabilities[valid].reset_index(drop=True)
            table = table.reset_index(drop=True).assign(
                predicted=said_here.idxmax(axis=1), confidence=said_here.max(axis=1), loss=0.1
            )
            write_table(run / "valid_predictions.csv", table.join(said_here))
            counts = {"num_train": int((~valid).sum()), "num_valid": int(valid.sum())}
            write_json(run / "summary.json", {"status": "done", "error_rate": 0.1, **counts})
            data = DataConfig(Source.folder, str(folder / "gone"))
            save_config(run, TrainConfig(data, fold=fold, folds=folds, seed=seed))
    return folder


def test_swapped_labels_come_first_with_what_they_are() -> None:
    issues = label_issues(said_of(swapped(4, 30, 59)), None)
    assert list(issues)[: len(COLUMNS)] == COLUMNS and len(issues) == COUNT
    assert issues["file"].head(3).tolist() == ["004.jpg", "030.jpg", "059.jpg"]
    assert (~issues["keep"]).sum() == 3 and not issues["keep"].head(3).any()
    assert issues["suggested"].head(3).tolist() == ["hispa", "blast", "tungro"]
    assert issues["wrong"].head(3).tolist() == [0.97] * 3
    assert issues["why"][0] == "pictures like this are called hispa with .94, tungro with .03"
    assert (issues["why"][3:] == "").all() and (issues["wrong"][3:] == 0.06).all()


def test_what_is_right_is_not_suspected_and_the_order_is_the_same_each_time() -> None:
    issues = label_issues(said_of(swapped()), None)
    assert issues["keep"].all() and issues["file"].is_monotonic_increasing
    some = said_of(swapped(1, 2, 3, 4))
    assert label_issues(some, None).equals(label_issues(some, None))


def test_seeds_are_averaged(tmp_path: Path) -> None:
    write_sweep(tmp_path, swapped(7), seeds=2)
    other = tmp_path / "1_1" / "valid_predictions.csv"  # picture 7 is of fold 1
    table = pd.read_csv(other)
    table.loc[table["file"] == "007.jpg", CLASSES] = [0.0, 0.5, 0.5]
    write_table(other, table)
    said = out_of_fold(find_runs(tmp_path))
    assert said.answers == 2 and len(said.table) == COUNT
    assert said.probabilities.iloc[7].tolist() == pytest.approx([0.015, 0.72, 0.265])
    assert said.probabilities.sum(axis=1).to_numpy() == pytest.approx(1)


def test_what_does_not_cover_all_pictures_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_sweep(tmp_path, swapped(), seeds=2)
    (tmp_path / "1_2" / "summary.json").unlink()
    assert out_of_fold(find_runs(tmp_path)).answers == 1
    assert "left out: seed=1: 2 of 3 folds" in caplog.messages
    (tmp_path / "0_0" / "summary.json").unlink()
    with pytest.raises(UserError, match=r"seed=0: 2 of 3 folds; seed=1: 2 of 3 folds; paddy tra"):
        out_of_fold(find_runs(tmp_path))
    with pytest.raises(UserError, match="the runs do not differ in their fold"):
        out_of_fold([tmp_path / "0_1"])


def test_folds_that_overlap_are_told(tmp_path: Path) -> None:
    write_sweep(tmp_path, swapped())
    first = (tmp_path / "0_0" / "valid_predictions.csv").read_text()
    (tmp_path / "0_1" / "valid_predictions.csv").write_text(first)
    with pytest.raises(UserError, match="3 of 3 folds, but 20 pictures validate twice, 20 never"):
        out_of_fold(find_runs(tmp_path))


def test_runs_of_other_labels_are_refused(tmp_path: Path) -> None:
    for number, labels in enumerate((swapped(), swapped(5))):
        sweep = write_sweep(tmp_path / str(number), labels)
        for run in find_runs(sweep):
            run.rename(tmp_path / f"{number}_{run.name}")
    config = TrainConfig(DataConfig(Source.folder, "gone"), fold=0, folds=3, lr=0.5)
    for fold in range(3):
        save_config(tmp_path / f"1_0_{fold}", config.__class__(config.data, fold=fold, folds=3))
    with pytest.raises(UserError, match="some were trained on other pictures or labels"):
        out_of_fold(find_runs(tmp_path))


def test_what_looks_alike_and_is_labelled_otherwise_comes_before_all(tmp_path: Path) -> None:
    """Copies of picture 0: the label of most is suggested for the one that has another."""
    rng = np.random.default_rng(0)
    said = said_of(["blast", "hispa", "tungro"] * 20, sure=0.9)
    for file in said.table["file"]:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / file)
    first = Image.open(tmp_path / "000.jpg")
    first.resize((40, 40)).save(tmp_path / "003.jpg", quality=80)  # blast, too
    first.save(tmp_path / "058.jpg", quality=60)  # which is called hispa
    issues = label_issues(said, tmp_path)
    assert sorted(issues["file"].head(3)) == ["000.jpg", "003.jpg", "058.jpg"]
    assert issues.loc[~issues["keep"], "file"].tolist() == ["058.jpg"]
    one = issues.set_index("file").loc["058.jpg"]
    assert one["suggested"] == "blast" and one["other"] == "000.jpg"
    assert one["why"] == "looks like 000.jpg, labelled blast"
    assert issues["other"].ne("").sum() == 3


def test_probabilities_are_short() -> None:
    assert [short(p) for p in (0.9712, 1.0, 0.004)] == [".97", "1.00", ".00"]
