"""Comparing runs: what differs, by how much, and whether that can be told."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import predictions, small

from paddy_lightning.atomic import write_json
from paddy_lightning.choices import Split
from paddy_lightning.config import TrainConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import against_best, compare, find_runs
from paddy_lightning.insight.comparison_page import markdown, write_comparison
from paddy_lightning.runs.run_folder import save_config
from paddy_lightning.training.train import train


def test_what_can_be_told_is_told() -> None:
    best, one_off = predictions((2081, True)), predictions((1, False), (2080, True))
    many_off, others = predictions((40, False), (2041, True)), predictions((5, True))
    folders = [Path(name) for name in "abcd"]
    told = against_best(dict(zip(folders, (best, one_off, many_off, others), strict=True)))
    assert [*told] == folders[1:]
    assert told[folders[1]].startswith("cannot tell with 2081 pictures: 1 pictures only")
    assert told[folders[2]].startswith("worse: 40 pictures")
    assert "not comparable" in told[folders[3]]
    assert against_best({}) == {}


def test_one_of_many_may_be_worse_by_chance() -> None:
    """Six pictures alone are p = .031: enough for one run, and not for one of three."""
    best, worse = predictions((100, True)), predictions((6, False), (94, True))
    alone = against_best({Path("best"): best, Path("worse"): worse})
    assert alone[Path("worse")].startswith("worse: 6 pictures") and "0.031" in alone[Path("worse")]
    runs = {Path("best"): best, Path("worse"): worse, Path("b"): best, Path("c"): best}
    among = against_best(runs)
    assert among[Path("worse")].startswith("cannot tell") and "0.094" in among[Path("worse")]


def test_settings_are_tested_over_their_repeats(tmp_path: Path) -> None:
    """Each run alone tells nothing; the three seeds of each setting do."""
    rng = np.random.default_rng(0)
    for lr, wrong in ((1e-2, 0.2), (1e-3, 0.32)):
        for seed in (1, 2, 3):
            table = guesses(range(150), rng)
            off = rng.random(150) < wrong
            right = table["label"].map({"a": "b", "b": "a"}).where(off, table["label"])
            name = tmp_path / f"{lr}-{seed}"
            finished(name, table.assign(predicted=right), {}, lr=lr, seed=seed)
    found = compare(find_runs(tmp_path))
    assert found.runs["against_best"].iloc[1:].str.startswith("cannot tell").sum() >= 3
    best, other = found.groups["against_best"]
    assert best == "" and other.startswith("worse: error +0.")
    assert "| against_best" in markdown(found) and "Holm" in markdown(found)


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
        runs = found.runs[found.runs["arch"] == row.arch]
        assert row.mean == pytest.approx(runs["error_rate"].mean())
        assert row.spread == pytest.approx(runs["error_rate"].std())
        assert row.valid_loss == pytest.approx(runs["valid_loss"].mean())
        assert row.seconds == pytest.approx(runs["seconds"].mean())


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
    whole = found.out_of_fold["out_of_fold.csv"]
    assert len(whole) == 60 and whole["file"].is_unique
    assert list(whole) == [
        *("file", "label", "predicted", "confidence", "loss", "fold"),
        *("across", "down", "slanted"),
    ]
    assert whole["fold"].value_counts().to_dict() == {0: 20, 1: 20, 2: 20}
    error = (whole["label"] != whole["predicted"]).mean()
    assert error == pytest.approx(found.runs["error_rate"].mean())  # folds of equal size
    write_comparison(found, tmp_path)
    assert len(pd.read_csv(tmp_path / "out_of_fold.csv")) == 60
    row = found.folds.iloc[0]
    assert (row["seed"], row["folds"], row["pictures"]) == ("42", "3 of 3", 60)
    assert row["error_rate"] == pytest.approx(error)
    assert row["error_low"] < row["error_rate"] < row["error_high"]


def test_a_class_may_be_called_as_a_column_is(tmp_path: Path) -> None:
    """Of its two columns ``fold`` the first is the number."""
    for fold in range(2):
        table = predictions((4, True)).assign(confidence=1.0, loss=0.1, fold=0.25, z=0.75)
        table["file"] = str(fold) + table["file"]
        counts: dict[str, object] = {"num_train": 4, "num_valid": 4}
        finished(tmp_path / str(fold), table, counts, fold=fold, folds=2)
    whole = compare(find_runs(tmp_path)).out_of_fold["out_of_fold.csv"]
    assert list(whole)[5:] == ["fold", "fold", "z"]
    assert whole.iloc[:, 5].tolist() == [0] * 4 + [1] * 4 and (whole.iloc[:, 6] == 0.25).all()


def finished(folder: Path, table: pd.DataFrame, summary: dict[str, object], **knobs: Any) -> Path:
    """The folder of a run, as far as comparing reads it, without any training."""
    error_rate = float((table["label"] != table["predicted"]).mean())
    results = {"status": "done", "error_rate": error_rate, "valid_loss": 1.0} | summary
    save_config(folder, TrainConfig(**knobs))
    write_json(folder / "summary.json", results)
    write_table(folder / "valid_predictions.csv", table)
    return folder


def guesses(files: range, rng: np.random.Generator) -> pd.DataFrame:
    """By a network that knows nothing."""
    names = [f"{number:03}.jpg" for number in files]
    labels = ["a" if number % 2 else "b" for number in files]
    return pd.DataFrame(
        {"file": names, "label": labels, "predicted": rng.choice(["a", "b"], len(files))}
    )


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Three folds of 30 pictures with four seeds, the last of which lacks a fold."""
    rng = np.random.default_rng(1)
    for seed in range(4):
        for fold in range(3 - (seed == 3)):
            table = guesses(range(10 * fold, 10 * fold + 10), rng)
            counts: dict[str, object] = {"num_train": 20, "num_valid": 10}
            name = tmp_path / f"fold-{fold}-seed-{seed}"
            finished(name, table, counts, fold=fold, folds=3, seed=seed)
    return tmp_path


def test_out_of_fold_is_one_network_a_picture_and_not_the_best(noise: Path) -> None:
    """Of networks that know nothing, the best seed of each fold together seem to know much."""
    found = compare(find_runs(noise))
    assert found.folds["seed"].tolist() == ["0", "1", "2", "3"]
    assert found.folds["folds"].tolist() == ["3 of 3"] * 3 + ["2 of 3"]
    assert len(found.out_of_fold) == 3
    for row in found.folds.iloc[:3].itertuples():
        of_seed = found.runs.loc[found.runs["seed"] == row.seed, "error_rate"]
        assert row.error_rate == pytest.approx(of_seed.mean()) and row.pictures == 30
        whole = found.out_of_fold[str(row.file)]
        assert whole["file"].tolist() == [f"{number:03}.jpg" for number in range(30)]
        assert (whole["label"] != whole["predicted"]).mean() == row.error_rate
    best_of_each = found.runs.groupby("fold")["error_rate"].min().mean()
    assert found.folds["error_rate"].min() > best_of_each
    write_comparison(found, noise)
    assert {path.name for path in noise.glob("out_of_fold*.csv")} == set(found.out_of_fold)
    page = (noise / "comparison.md").read_text()
    assert "| 3      | 2 of 3  |" in page and "| out_of_fold_2.csv |" in page


def test_folds_that_are_not_of_the_same_pictures_are_no_whole(noise: Path) -> None:
    """Of seed 0, pictures of fold 1 once more; of seed 1, another data set; twice a fold."""
    rng = np.random.default_rng(2)
    counts: dict[str, object] = {"num_train": 20, "num_valid": 10}
    finished(noise / "fold-2-seed-0", guesses(range(10, 20), rng), counts, fold=2, folds=3, seed=0)
    more: dict[str, object] = {"num_train": 40, "num_valid": 10}
    finished(noise / "fold-2-seed-1", guesses(range(20, 30), rng), more, fold=2, folds=3, seed=1)
    right = guesses(range(20, 30), rng).assign(predicted=lambda table: table["label"])
    finished(noise / "z-once-more", right, counts, fold=2, folds=3, seed=2)
    found = compare(find_runs(noise))
    assert found.folds["pictures"].notna().tolist() == [False, False, True, False]
    of_first = compare([folder for folder in find_runs(noise) if folder.name != "z-once-more"])
    assert found.folds["error_rate"].iloc[2] == of_first.folds["error_rate"].iloc[2]


def test_the_best_is_a_run_that_is_done(tmp_path: Path) -> None:
    """One that failed after it was evaluated has an error, too, and is neither best nor first."""
    failed = {"status": "failed", "reason": "the disk is full", "valid_loss": 0.1}
    finished(tmp_path / "0", predictions((50, True)), failed, lr=1e-2)
    finished(tmp_path / "1", predictions((40, True), (10, False)), {}, lr=1e-3)
    finished(tmp_path / "2", predictions((39, True), (11, False)), {}, lr=1e-4)
    found = compare(find_runs(tmp_path))
    assert found.runs["run"].tolist() == ["1", "2", "0"]
    assert found.runs["against_best"].tolist()[::2] == ["", ""]
    assert "Against the best, 1, picture by picture:" in markdown(found)


def test_where_none_is_done_there_is_no_best(tmp_path: Path) -> None:
    for number in range(2):
        save_config(tmp_path / str(number), TrainConfig(seed=number))
        write_json(tmp_path / str(number) / "summary.json", {"status": "failed", "reason": "x"})
    found = compare(find_runs(tmp_path))
    assert found.groups.empty and found.folds.empty and not found.out_of_fold
    write_comparison(found, tmp_path)
    assert "best" not in (tmp_path / "comparison.md").read_text()


def test_what_changes_no_number_is_no_setting(tmp_path: Path) -> None:
    """Neither where pictures are kept, nor a rate that was found anew for every seed."""
    told: list[dict[str, Any]] = [
        {"cache": "off", "lr": 3e-3},
        {"cache_gb": 5.0, "profile": True, "lr": 4e-3},
        {"num_workers": 3, "trainer": {"enable_progress_bar": False}, "lr": 5e-3},
    ]
    for seed, knobs in enumerate(told):
        found = {"lr_found": knobs["lr"]}
        finished(
            tmp_path / str(seed), predictions((9, True), (seed, False)), found, seed=seed, **knobs
        )
    other = {"trainer": {"gradient_clip_val": 1.0}, "lr": 4e-3}
    finished(tmp_path / "3", predictions((9, True)), {}, seed=3, **other)
    comparison = compare(find_runs(tmp_path))
    assert comparison.groups["runs"].tolist() == [3]
    assert comparison.groups["lr"].tolist() == ["find"]
    runs = comparison.runs.set_index("run")
    assert runs.loc[["0", "1", "2"], "lr_found"].tolist() == [3e-3, 4e-3, 5e-3]
    assert runs.loc["3", "lr"] == "0.004" and "4.00e-03" in markdown(comparison)


def test_runs_of_any_kind_stand_in_one_table(tmp_path: Path, stripes: Path) -> None:
    """Of one picture, of other classes, without predictions, without a config, of equal names."""
    odd = "a|b $^$ \n\udcff 水"
    finished(tmp_path / "x" / odd, predictions((1, True)), {})
    finished(tmp_path / "y" / odd, predictions((0, True), (1, False)), {})
    other = predictions((3, True)).replace("a", "c")
    finished(tmp_path / "y" / "classes", other, {"error_low": 0.0, "error_high": 0.7}, seed=1)
    lost = finished(tmp_path / "y" / "lost", predictions((3, True)), {}, seed=2)
    (lost / "valid_predictions.csv").unlink()
    write_json(tmp_path / "y" / "bare" / "summary.json", {"status": "running"})
    folders = [*find_runs(tmp_path / "x"), *find_runs(tmp_path / "y")]
    found = compare([*folders, tmp_path / "x" / odd])
    assert sorted(found.runs["run"]) == sorted(
        [f"x/{odd}", f"y/{odd}", "y/classes", "y/lost", "y/bare"]
    )
    write_comparison(found, tmp_path / "out")
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert r"x/a\|b $^$ \n\udcff 水" in page
    assert (tmp_path / "out" / "comparison.png").exists()


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run there"):
        find_runs(tmp_path)
