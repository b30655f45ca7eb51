from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.folders import labelled_table
from paddy_lightning.data.listing import list_images
from paddy_lightning.data.table import describe, open_data
from paddy_lightning.errors import UserError


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
    folder = Path("data/paddy-disease-classification").absolute()
    assert data.config == DataConfig(Source.paddy, str(folder))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "0 pictures in 0 classes"),
        (("a/1.jpg", "a/2.jpg"), "2 pictures in 1 classes; needs at least two"),
        (("1.jpg", "2.jpg"), "0 pictures in 0 classes"),
        (("a/1.jpg", "label/2.jpg"), "a class cannot be called label"),
        (("train/a/1.jpg", "val/a/2.jpg"), "2 pictures in 1 classes"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        open_data(DataConfig(Source.folder, str(make(tmp_path, *files))))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(Source.folder), r"say where, with data\.root=FOLDER"),
        (DataConfig(Source.folder, "missing"), "missing: no such folder"),
        (DataConfig(Source.folder, "x" * 5000), "x: no such folder"),  # no name can be so long
        (DataConfig(Source.auto, "x" * 5000), "x: no such folder"),
        (DataConfig(Source.folder, "zero\0byte"), "byte: no such folder"),
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


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "test"])
def test_a_ready_split_is_kept(tmp_path: Path, valid: str) -> None:
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", f"{valid}/a/2.jpg", f"{valid}/b/2.jpg")
    data = open_data(DataConfig(Source.folder, str(tmp_path)))
    table = data.train.set_index("file")
    assert table["label"].to_dict() == {file: file.split("/")[1] for file in table.index}
    assert table["is_valid"].to_dict() == {f: not f.startswith("train/") for f in table.index}
    assert data.test_root is None


def test_a_test_tree_beside_a_valid_tree_is_there_to_predict(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "test/a/3.jpg")
    assert open_data(DataConfig(root=str(tmp_path))).test_root == tmp_path / "test"


def test_a_csv_of_file_and_label(tmp_path: Path) -> None:
    make(tmp_path / "flat", "2.jpg", "1.jpg", "3.jpg")
    csv = tmp_path / "labels.csv"
    csv.write_text("name,label,plant,is_valid\n2.jpg,NA,x,true\n1.jpg,b,x,0\n3.jpg,b,y,FALSE\n")
    data = open_data(DataConfig(root=str(tmp_path / "flat"), csv=str(csv)))
    assert data.root == tmp_path / "flat"
    assert data.train.to_dict("list") == {
        "file": ["1.jpg", "2.jpg", "3.jpg"],
        "label": ["b", "NA", "b"],
        "plant": ["x", "x", "y"],
        "is_valid": [False, True, False],
    }
    assert open_data(data.config).train.equals(data.train)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\n1.jpg,a\n", "has no column named label, only file, class"),
        ("file,label\n1.jpg,a\n2.jpg,\n", "1 rows have no label"),
        ("file,label\n1.jpg,a\n1.jpg,b\n", r"1 files are named twice, such as 1\.jpg"),
        ("file,label,is_valid\n1.jpg,a,yes\n2.jpg,b,no\n", "is_valid must be true or false"),
        ("file,label\n1.jpg,a\n2.jpg,a\n", "2 pictures in 1 classes"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        open_data(DataConfig(csv=str(tmp_path / "labels.csv")))


@pytest.mark.parametrize(
    "text",
    [
        "label,path\na,1.jpg\nb,sub/2.jpg\n",
        ",image_id,label\n0,1.jpg,a\n1,sub/2.jpg,b\n",
        "image_id,label\n0,1.jpg,a\n1,sub/2.jpg,b\n",  # R writes row names without a header
        "id,width,image,label\n7,8,1.jpg,a\n9,8,sub/2.jpg,b\n",
        "file,label\n1.jpg,a\nsub\\2.jpg,b\n",
        "File, Label\r\n1.jpg, a\r\nsub/2.jpg, b\r\n",
        'file, label\n1.jpg, "a"\n"sub/2.jpg", "b"\n',
        "file,label\n 1.jpg ,a \nsub/2.jpg, b\n",
        "file,label,\n1.jpg,a,\nsub/2.jpg,b,\n",
        "file,label\n1.jpg,a,,\nsub/2.jpg,b,,\n",
        "\ufefffile,label\n1.jpg,a\nsub/2.jpg,b\n",
        "label,file,is_valid\na,1.jpg, 0\nb,sub/2.jpg, 1 \n",
    ],
)
def test_a_csv_of_another_hand_is_understood(tmp_path: Path, text: str) -> None:
    make(tmp_path, "1.jpg", "sub/2.jpg")
    (tmp_path / "labels.csv").write_text(text, newline="")
    table = open_data(DataConfig(csv=str(tmp_path / "labels.csv"))).train
    assert table[["file", "label"]].to_numpy().tolist() == [["1.jpg", "a"], ["sub/2.jpg", "b"]]
    assert "is_valid" not in table or table["is_valid"].tolist() == [False, True]


def test_a_name_in_a_csv_is_left_as_it_is_where_such_a_file_lies(tmp_path: Path) -> None:
    names = [" 1.jpg", "back\\2.jpg", "3.jpg "]
    make(tmp_path, *names[:2]).joinpath("3.jpg ").write_bytes((tmp_path / " 1.jpg").read_bytes())
    write_table(tmp_path / "t.csv", pd.DataFrame({"file": names, "label": ["a", "b", "a"]}))
    table = open_data(DataConfig(csv=str(tmp_path / "t.csv"))).train
    assert set(table["file"]) == set(names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx.jpg,a\ny.jpg,b\n", r"none of its files is in .*, such as x\.jpg; data\.ro"),
        ("id,label\n1,a\n2,b\n", r"such as 1; 1\.jpg is: write names with their suffixes; data"),
        ("file,label\n1.jpg,a\n./1.jpg,b\n", r"1 files are named twice, such as \./1\.jpg"),
        ("file,label,Label\n1.jpg,a,b\n", "two columns are called label"),
        ("label\na\nb\n", "has no column of files beside label"),
        ("file;label\n1.jpg;a\n", "has no column named label, only file;label .commas sep"),
        ("file,label\n1.jpg\n2.jpg,b\n", "1 rows have no label"),
        ("file,label\n1.jpg,a,b\n2.jpg,a,b,c\n", "cannot be read as a table"),
        ('file,label\n"1.jpg,a\n', "cannot be read as a table"),
        ("label,is_valid\na,1\nb,0\n", "has no column of files beside label"),
        ("file,label\n1.jpg,a\n2\0.jpg,b\n", r"cannot be read as a table .it is not text in UTF"),
    ],
)
def test_a_csv_that_fits_nothing_says_why(tmp_path: Path, text: str, message: str) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        open_data(DataConfig(csv=str(tmp_path / "labels.csv")))


def test_a_csv_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n1.jpg,a\n", encoding="utf-16")
    with pytest.raises(
        UserError, match=r"labels\.csv: cannot be read as a table \(it is not text in UTF"
    ):
        open_data(DataConfig(csv=str(tmp_path / "labels.csv")))


def test_copies_of_a_notebook_are_no_class(tmp_path: Path) -> None:
    files = ("a/1.jpg", "b/1.jpg", ".ipynb_checkpoints/1.jpg", "a/.ipynb_checkpoints/1.jpg")
    assert labelled_table(make(tmp_path, *files))["file"].tolist() == ["a/1.jpg", "b/1.jpg"]


CELLS = st.sampled_from(
    [
        *(
            "1.jpg",
            "s/2.jpg",
            "s\\2.jpg",
            " 1.jpg",
            "a",
            "b",
            "",
            "NA",
            "0",
            "1",
            "true",
            '"',
            '"q"',
        ),
        *("x,y", " ", "\0", "\udcff", "ü", "..", "/", "/etc/passwd", "\ufeff", "1e5", "x" * 5000),
    ]
)
HEADS = st.sampled_from(["file", "label", "is_valid", "File", " label", "id", "", "plant"])


@given(
    st.lists(HEADS, max_size=4),
    st.lists(st.lists(CELLS, max_size=5), max_size=6),
    st.sampled_from([",", ", ", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.binary(max_size=3),
)
@example(["file", "label"], [["1.jpg", "a"], ["s/2.jpg", "b"]], ",", "\n", b"")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_csv_is_a_table_or_a_sentence(
    tmp_path: Path, head: list[str], rows: list[list[str]], comma: str, end: str, more: bytes
) -> None:
    make(tmp_path, "1.jpg", "s/2.jpg")
    text = end.join(comma.join(row) for row in [head, *rows])
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8", "surrogateescape") + more)
    try:
        table = open_data(DataConfig(csv=str(tmp_path / "t.csv"))).train
    except UserError:
        return
    assert table["file"].is_unique and table["label"].nunique() > 1
    assert (
        table[["file", "label"]]
        .map(lambda text: isinstance(text, str) and text != "")
        .all(axis=None)
    )
    assert any((tmp_path / file).is_file() for file in table["file"] if len(file) < 100)
