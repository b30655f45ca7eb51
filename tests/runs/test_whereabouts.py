"""Pictures found again: runs and data that were moved, Kaggle's files beside them or not."""

import ntpath
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.config import plain
from paddy_lightning.errors import UserError
from paddy_lightning.insight.interpret import interpret
from paddy_lightning.prediction.images import ToPredict, find_images, trained_on
from paddy_lightning.prediction.predict import run_predict
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.runs.whereabouts import data_of
from paddy_lightning.training.train import train


@pytest.fixture(scope="module")
def home(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its data in ``pics`` and a run of an epoch, both named from within it."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(stripes, folder / "pics")
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        config = small(Path("pics"), epochs=1, freeze_epochs=0, cache="off")
        train(config, "outputs/run")
    return folder


@pytest.fixture
def away(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run alone, in another folder, from which the next command is given."""
    shutil.copytree(home / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gone(home: Path) -> Any:
    """The data is not where it was trained on."""
    (home / "pics").rename(home / "elsewhere")
    yield home / "elsewhere"
    (home / "elsewhere").rename(home / "pics")


def facts_of(run: Path) -> dict[str, Any]:
    facts: dict[str, Any] = load_checkpoint(run)["hyper_parameters"]
    return facts


def written(folder: Path) -> set[str]:
    return {path.name for path in (folder / "outputs" / "run").glob("*ions.csv")} | {
        path.name for path in (folder / "outputs" / "run").glob("submission.csv")
    }


def test_where_it_lay_comes_first(home: Path, away: Path) -> None:
    shutil.copytree(home / "pics", away / "pics")
    assert data_of(facts_of(away / "outputs/run")).root == home / "pics" / "train_images"


def test_data_of_another_drive_of_windows_is_not_looked_for_from_here(
    away: Path, gone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No path leads from one to the other."""
    facts = facts_of(away / "outputs/run")
    facts |= {"data": facts["data"] | {"root": r"D:\pics"}, "from": r"C:\project"}
    monkeypatch.setattr("os.path.relpath", ntpath.relpath)
    with pytest.raises(UserError, match="no train_images/ there"):
        data_of(facts)


@pytest.mark.parametrize("place", ["pics", "data/some-competition", "data"])
def test_data_that_is_no_longer_there_is_found_here(
    away: Path, gone: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the path that was typed, or where Kaggle's files lie; and a submission is made."""
    shutil.copytree(gone, away / place)
    with caplog.at_level("INFO"):
        run_predict(PredictConfig("outputs/run"))
    assert "is not in" in caplog.text and f"taken from {place}/train_images" in caplog.text
    assert {"predictions.csv", "submission.csv"} <= written(away)
    if place == "pics":
        interpret("outputs/run")
        assert (away / "outputs/run/figures/top_losses.png").exists()


def test_data_that_is_nowhere_is_told_by_where_it_was(away: Path, gone: Path) -> None:
    with pytest.raises(UserError, match="pics"):
        find_images(None, facts_of(away / "outputs/run"))


def test_other_classes_are_other_data(away: Path, gone: Path) -> None:
    shutil.copytree(gone, away / "pics")
    (away / "pics" / "train_images" / "down").rename(away / "pics" / "train_images" / "up")
    with pytest.raises(UserError):
        data_of(facts_of(away / "outputs/run"))


def test_a_drawn_data_set_is_drawn_here(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not once more in the folder where it lay."""
    asked: list[Any] = []
    monkeypatch.setattr("paddy_lightning.runs.whereabouts.open_data", asked.append)
    nowhere = {"source": "demo", "root": str(away / "not" / "there"), "csv": None}
    data_of({"data": nowhere, "from": "/", "class_names": []})
    assert asked == [DataConfig(Source.demo)]


@pytest.mark.parametrize("sample", ["beside", "of the run's data", "of others"])
def test_a_submission_of_named_pictures(home: Path, away: Path, sample: str) -> None:
    """Where a sample asks for these very pictures, and only then."""
    run_predict(PredictConfig("outputs/run", images=str(home / "pics" / "test_images")))
    assert "submission.csv" in written(away)
    submitted = pd.read_csv("outputs/run/submission.csv")
    assert (
        submitted["image_id"].tolist()
        == pd.read_csv(home / "pics/sample_submission.csv")["image_id"].tolist()
    )
    (away / "outputs/run/submission.csv").unlink()
    shutil.copytree(home / "pics" / "test_images", away / "some" / "test_images")
    ids = (home / "pics" / "sample_submission.csv").read_text()
    if sample == "beside":
        (away / "some" / "sample_submission.csv").write_text(ids)
    if sample == "of others":
        (away / "some" / "test_images" / "200000.jpg").unlink()
    run_predict(PredictConfig("outputs/run", images="some/test_images"))
    assert ("submission.csv" in written(away)) == (sample != "of others")


def test_pictures_it_trained_on_are_known_by_their_paths(home: Path, tmp_path: Path) -> None:
    run, facts = home / "outputs" / "run", facts_of(home / "outputs" / "run")
    table = pd.read_csv(run / "pictures.csv")
    trained = ~table["is_valid"]
    root = home / "pics" / "train_images"

    def known(folder: Path, files: pd.Series) -> list[bool]:
        return list(trained_on(run, facts, ToPredict(folder, files, None)))

    assert known(root, table["file"]) == trained.tolist()
    assert known(tmp_path / "copy", table["file"]) == trained.tolist()
    of_class = table["file"].str.startswith("down/")
    names = table.loc[of_class, "file"].str.removeprefix("down/")
    assert known(root / "down", names) == trained[of_class].tolist()
    assert not any(known(tmp_path / "others", names))  # a bare name is no sign
    assert not any(known(home / "pics" / "test_images", pd.Series(["200000.jpg"])))
    assert not trained_on(tmp_path, facts, ToPredict(root, table["file"], None)).any()
    flat = tmp_path / "flat"
    flat.mkdir()
    pd.DataFrame({"file": ["1.jpg", "2.jpg"], "is_valid": [False, True]}).to_csv(
        flat / "pictures.csv", index=False
    )
    of_table = facts | {"data": {"source": "folder", "root": str(root), "csv": "x.csv"}}
    two = pd.Series(["1.jpg", "2.jpg"])
    assert trained_on(flat, of_table, ToPredict(root, two, None)).tolist() == [True, False]
    assert not np.any(trained_on(flat, of_table, ToPredict(tmp_path, two, None)))


def test_a_table_moves_with_its_project(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pics").symlink_to(stripes / "train_images")
    (tmp_path / "tables").mkdir()
    rows = ["across/across00.jpg,across", "down/down00.jpg,down"]
    (tmp_path / "tables" / "t.csv").write_text("\n".join(["file,label", *rows]))
    then = DataConfig(Source.folder, "/gone/project/pics", "/gone/project/tables/t.csv")
    facts = {"data": plain(then), "from": "/gone/project", "class_names": ["across", "down"]}
    monkeypatch.chdir(tmp_path)
    assert data_of(facts).root == Path("pics")
    for other in ({"class_names": ["up", "down"]}, {"from": "/gone"}):
        with pytest.raises(UserError, match="/gone/project"):
            data_of(facts | other)
    with pytest.raises(UserError, match="/gone/project"):  # of an earlier version
        data_of({name: facts[name] for name in ("data", "class_names")})
