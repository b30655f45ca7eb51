"""Comparing runs: what differs, by how much, and whether that can be told."""

from pathlib import Path

import pandas as pd
import pytest
from test_training import small

from paddy_lightning.compare import compare, find_runs, paired, sentence, write_comparison
from paddy_lightning.config import Split
from paddy_lightning.errors import UserError
from paddy_lightning.training import train


def predictions(*runs_of: tuple[int, bool]) -> pd.DataFrame:
    """Pictures of one class, so and so many right or wrong."""
    right = [is_right for count, is_right in runs_of for _ in range(count)]
    files = [f"{row}.jpg" for row in range(len(right))]
    said = ["a" if is_right else "b" for is_right in right]
    return pd.DataFrame({"file": files, "label": "a", "predicted": said})


def test_the_paired_test_against_a_published_example() -> None:
    """Agresti, Categorical Data Analysis, table 11.1: 150 and 86 of 1,600 disagree; and by hand:
    of six pictures, one run alone gets all right, p = 2 / 2**6."""
    first = predictions((794, True), (150, True), (86, False), (570, False))
    second = predictions((794, True), (150, False), (86, True), (570, False))
    only_first, only_second, p = paired(first, second)
    assert (only_first, only_second) == (150, 86)
    assert p == pytest.approx(3.7e-5, rel=0.02)
    assert paired(predictions((6, True)), predictions((6, False))) == (6, 0, 2 / 2**6)
    assert paired(first, first) == (0, 0, 1.0)


def test_what_can_be_told_is_told() -> None:
    best, one_off = predictions((2081, True)), predictions((1, False), (2080, True))
    assert sentence(best, one_off).startswith("cannot tell with 2081 pictures: 1 pictures only")
    assert sentence(best, predictions((40, False), (2041, True))).startswith("worse: 40 pictures")
    assert "not comparable" in sentence(best, predictions((5, True)))


@pytest.fixture(scope="module")
def sweep(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    number = 0
    for arch in ("mobilenetv3_small_050", "resnet10t"):
        for seed in (1, 2):
            config = small(stripes, arch=arch, seed=seed, epochs=1, freeze_epochs=0)
            train(config, folder / f"{number}_{arch}-{seed}")
            number += 1
    return folder


def test_one_row_a_run_sorted_with_what_differs(sweep: Path) -> None:
    found = compare(find_runs(sweep))
    assert list(found.runs)[:3] == ["run", "arch", "seed"]
    assert found.runs["error_rate"].is_monotonic_increasing
    assert (found.runs["num_parameters"] > 1e5).all()
    interval = found.runs[["error_low", "error_rate", "error_high"]].to_numpy()
    assert (interval[:, :-1] <= interval[:, 1:]).all()
    assert found.runs["against_best"].iloc[0] == ""
    assert found.runs["against_best"].iloc[1:].str.contains("12 pictures|worse").all()
    assert found.groups["runs"].tolist() == [2, 2]
    for row in found.groups.itertuples():
        errors = found.runs.loc[found.runs["arch"] == row.arch, "error_rate"]
        assert row.mean == pytest.approx(errors.mean())
        assert row.spread == pytest.approx(errors.std())


def test_it_is_written(sweep: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        write_comparison(compare(find_runs(sweep)), tmp_path)
    table = pd.read_csv(tmp_path / "comparison.csv")
    page = (tmp_path / "comparison.md").read_text()
    assert len(table) == 4 and page in caplog.text
    assert all(f"| {run} " in page for run in table["run"])
    assert "Repeated runs of one setting" in page
    assert (tmp_path / "comparison.png").stat().st_size > 5000


def test_all_folds_give_predictions_of_the_whole_set(stripes: Path, tmp_path: Path) -> None:
    for fold in range(3):
        config = small(stripes, fold=fold, folds=3, split=Split.stratified, epochs=0)
        train(config, tmp_path / "sweep" / f"{fold}_fold-{fold}")
    found = compare(find_runs(tmp_path / "sweep"))
    assert found.groups["runs"].tolist() == [3]
    assert found.runs["against_best"].iloc[1:].str.contains("not comparable").all()
    whole = found.out_of_fold[""]
    assert len(whole) == 60 and whole["file"].is_unique
    error = (whole["label"] != whole["predicted"]).mean()
    assert error == pytest.approx(found.runs["error_rate"].mean())  # folds of equal size
    write_comparison(found, tmp_path)
    assert len(pd.read_csv(tmp_path / "out_of_fold.csv")) == 60
    assert not compare(find_runs(tmp_path / "sweep")[:2]).out_of_fold


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run there"):
        find_runs(tmp_path)
