"""Several competitions side by side: none is trained on, or handed in to, by mistake."""

import shutil
from pathlib import Path

import pytest
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import SubmitConfig
from paddy_lightning.data import table
from paddy_lightning.data.table import kaggle_folders, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.submit import competition_of, data_of, run_submit
from paddy_lightning.runs.run_folder import save_config

PADDY, CASSAVA = "paddy-disease-classification", "cassava"


@pytest.fixture
def place(stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder; ``data/cassava`` and the paddy's are in it, ``elsewhere/mine`` as well."""
    for folder in (f"data/{CASSAVA}", f"data/{PADDY}", "elsewhere/mine"):
        shutil.copytree(stripes, tmp_path / folder)
    sample = tmp_path / "data" / CASSAVA / "sample_submission.csv"
    sample.write_text(sample.read_text().replace("2000", "9000"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_on(root: Path, place: Path) -> Path:
    """A run's folder, with a submission of the paddy's ids."""
    run = place / "run"
    run.mkdir()
    save_config(run, small(root.absolute()))
    sample = place / "data" / PADDY / "sample_submission.csv"
    (run / "submission.csv").write_text(sample.read_text().replace(",\n", ",down\n"))
    (run / "predictions.csv").write_text("file,label,confidence,across,down,slanted\n")
    return run


@pytest.mark.parametrize("source", [Source.auto, Source.paddy])
def test_of_several_none_is_taken_by_itself(place: Path, source: Source) -> None:
    said = rf"several competitions: data/{CASSAVA}, data/{PADDY}; say which, with data\.root=data/"
    with pytest.raises(UserError, match=said):
        open_data(DataConfig(source))
    with pytest.raises(UserError, match=f"{place}/data/{CASSAVA}, {place}/data/{PADDY}"):
        open_data(DataConfig(source, str(place)))
    root = place / "data" / PADDY
    assert open_data(DataConfig(source, str(root))).config == DataConfig(Source.paddy, str(root))


def test_also_at_both_places(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(place / "data" / CASSAVA, place / "input" / "competitions" / CASSAVA)
    monkeypatch.setattr(table, "KAGGLE_PLACES", ("data", str(place / "input")))
    with pytest.raises(UserError, match=f"data/{PADDY}, {place}/input/competitions/{CASSAVA}; say"):
        open_data(DataConfig())


def test_one_folder_by_two_names_is_one(place: Path) -> None:
    shutil.rmtree(place / "data" / CASSAVA)
    (place / "data" / "zzz").symlink_to(place / "data" / PADDY)
    assert kaggle_folders() == [Path("data", PADDY)]


def test_what_is_below_another_or_hidden_is_none(place: Path) -> None:
    shutil.rmtree(place / "data" / CASSAVA)
    (place / "data" / PADDY / "train_images" / "train_images").mkdir()
    (place / "data" / "x" / ".part" / "train_images").mkdir(parents=True)
    (place / "data" / "demo").symlink_to(place / "elsewhere" / "mine")
    assert kaggle_folders() == [Path("data", PADDY)]


@pytest.mark.parametrize(
    ("root", "told", "competition"),
    [
        (f"data/{CASSAVA}", None, CASSAVA),
        (f"data/{CASSAVA}", CASSAVA, CASSAVA),
        ("elsewhere/mine", CASSAVA, CASSAVA),
        (f"gone/{CASSAVA}", None, CASSAVA),  # trained on another machine
        ("gone/for/good", PADDY, PADDY),
    ],
)
def test_the_data_tells_the_competition(
    place: Path, root: str, told: str | None, competition: str
) -> None:
    run = run_on(Path(root), place)
    assert competition_of(run, data_of(run, told), told) == competition


@pytest.mark.parametrize(
    ("root", "told", "said"),
    [
        (
            f"data/{CASSAVA}",
            PADDY,
            f"competition={PADDY}: .* on .*/{CASSAVA}, the files of {CASSAVA}",
        ),
        (
            f"gone/{CASSAVA}",
            PADDY,
            f"competition={PADDY}: .* on .*{CASSAVA}, the files of {CASSAVA}",
        ),
        ("elsewhere/mine", None, "mine does not tell of which competition it is; say it with"),
        (
            "gone/for/good",
            None,
            "not in .*/gone/for/good any more; say with competition=NAME whose",
        ),
        ("gone/for/good", "another", "not in .*/gone/for/good any more; say with competition=NAME"),
        ("gone/..", None, r"not in .*/gone/\.\. any more; say with competition=NAME"),
    ],
)
def test_what_does_not_fit_or_tell_is_refused(
    place: Path, root: str, told: str | None, said: str
) -> None:
    run = run_on(Path(root), place)
    with pytest.raises(UserError, match=said):
        competition_of(run, data_of(run, told), told)


def test_a_link_says_that_a_folder_is_of_another_competition(place: Path) -> None:
    shutil.rmtree(place / "data" / PADDY)
    (place / "data" / PADDY).symlink_to(place / "data" / CASSAVA)
    run = place / "run"
    run.mkdir()
    save_config(run, small(place / "data" / CASSAVA))
    assert competition_of(run, data_of(run, PADDY), PADDY) == PADDY


def test_an_ensemble_says_which(place: Path) -> None:
    both = place / "both"
    both.mkdir()
    said = f"competition=NAME; here are data/{CASSAVA}, data/{PADDY}"
    with pytest.raises(UserError, match=said):
        data_of(both, None)
    assert competition_of(both, data_of(both, CASSAVA), CASSAVA) == CASSAVA
    shutil.rmtree(place / "data" / CASSAVA)
    assert competition_of(both, data_of(both, None), None) == PADDY
    with pytest.raises(UserError, match=f"competition={CASSAVA}: .* the files of {PADDY}; if"):
        competition_of(both, data_of(both, CASSAVA), CASSAVA)


def test_ids_of_another_competition_are_not_handed_in(place: Path) -> None:
    """Where only ``competition=`` tells, and its own files are here to compare with."""
    run = run_on(place / "elsewhere" / "mine", place)
    with pytest.raises(UserError, match=r"submission\.csv: '900000\.jpg' is missing \(8 of 8 are"):
        run_submit(SubmitConfig(str(run), competition=CASSAVA))
