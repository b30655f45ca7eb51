from pathlib import Path

import pytest
from PIL import Image

from paddy_lightning.config import DataConfig, Source
from paddy_lightning.errors import UserError
from paddy_lightning.table import describe, labelled_table, list_images, open_data


def make(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / file)
    return root


def test_a_folder_a_class(tmp_path: Path) -> None:
    root = make(tmp_path, "b/2.jpg", "b/1.PNG", "a/deeper/x.JPEG", "a/y.webp", "stray.jpg")
    (root / "a" / "notes.txt").write_text("")
    (root / "a" / ".hidden.jpg").write_bytes(b"")
    table = labelled_table(root)
    assert table["file"].tolist() == ["a/deeper/x.JPEG", "a/y.webp", "b/1.PNG", "b/2.jpg"]
    assert table["label"].tolist() == ["a", "a", "b", "b"]


def test_odd_names_survive(tmp_path: Path) -> None:
    names = ["a/with space.jpg", "a/comma,quote'.jpg", "b/ünïcode.jpg", "b/-dash.jpg", "b/=x.jpg"]
    assert labelled_table(make(tmp_path, *names))["file"].tolist() == sorted(names)


def test_kaggles_layout_is_found(stripes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(DataConfig(Source.paddy, str(stripes)))
    assert (len(data.train), data.train["label"].nunique()) == (60, 3)
    assert data.test_root == stripes / "test_images"
    assert data.sample_submission == stripes / "sample_submission.csv"
    assert describe(data).endswith("60 pictures, 3 classes, 8 to predict")


def test_auto_takes_kaggles_files_where_they_lie(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "paddy-disease-classification").symlink_to(stripes)
    data = open_data(DataConfig())
    assert data.source is Source.paddy
    assert data.folder == Path("data/paddy-disease-classification")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "0 pictures in 0 class folders"),
        (("a/1.jpg", "a/2.jpg"), "2 pictures in 1 class folders; needs at least two"),
        (("1.jpg", "2.jpg"), "0 pictures in 0 class folders"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        labelled_table(make(tmp_path, *files))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(Source.folder), r"say where, with data\.root=FOLDER"),
        (DataConfig(Source.folder, "missing"), "missing: no such folder"),
        (DataConfig(Source.paddy, "missing"), "missing: no train_images/ there"),
        (DataConfig(Source.paddy), r"data or /kaggle/input: no train_images/ there"),
    ],
)
def test_data_that_is_not_there_is_named(
    config: DataConfig, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        open_data(config)


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    assert list_images(make(tmp_path, "z.jpg", "a/b.tif")) == ["a/b.tif", "z.jpg"]
