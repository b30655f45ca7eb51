"""What the names of folders mean: classes, or the sides of a split."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.folders import labelled_table
from paddy_lightning.data.listing import list_images, look_into
from paddy_lightning.data.split import split_table
from paddy_lightning.data.table import DataSet, describe, open_data
from paddy_lightning.errors import UserError

PICTURE = Image.new("RGB", (8, 8))


def make(root: Path, *files: str) -> Path:
    """Pictures, folders (with a ``/`` at the end) and other files."""
    for file in files:
        if file.endswith("/"):
            (root / file).mkdir(parents=True)
            continue
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith(".jpg"):
            PICTURE.save(root / file)
        else:
            (root / file).write_text("")
    return root


def opened(root: Path, *files: str) -> DataSet:
    return open_data(DataConfig(Source.folder, str(make(root, *files))))


def tree(name: str, *classes: str) -> list[str]:
    return [f"{name}/{label}/{number}.jpg" for label in classes for number in (1, 2)]


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        *[("train", valid) for valid in ("valid", "val", "validation", "dev", "test")],
        *[("Training", "Testing"), ("Train", "Val"), ("TRAIN", "DEV"), ("training", "Test")],
        *[("training_set", "test_set"), ("Train Images", "Validation Images"), ("trainset", "val")],
        *[("seg_train", "seg_test"), ("training_set/training_set", "test_set/test_set")],
    ],
)
def test_trees_are_known_by_all_usual_names(tmp_path: Path, train: str, valid: str) -> None:
    data = opened(tmp_path, *tree(train, "a", "b"), *tree(valid, "a", "b"))
    table = data.train.set_index("file")
    assert table.index.tolist() == sorted(table.index) and data.test_root is None
    assert table["label"].to_dict() == {file: file.split("/")[-2] for file in table.index}
    assert table["is_valid"].to_dict() == {file: file.startswith(valid) for file in table.index}
    assert ("validates, for want of valid/" in describe(data)) == ("test" in valid.lower())


@pytest.mark.parametrize("test", ["test", "Testing", "test_images", "TEST"])
@pytest.mark.parametrize(
    "inside", [["1.jpg", "2.jpg"], ["test/1.jpg"], ["unknown/1.jpg", "2.jpg"], ["deep/er/1.jpg"]]
)
def test_a_test_set_without_the_classes_is_there_to_predict(
    tmp_path: Path, test: str, inside: list[str]
) -> None:
    files = [f"{test}/{name}" for name in inside]
    data = opened(tmp_path, *tree("train", "a", "b"), *files)
    assert data.test_root is not None and data.test_root.is_relative_to(tmp_path / test)
    assert len(data.train) == 4 and "is_valid" not in data.train
    assert split_table(data.train, data.root)["is_valid"].sum() == 1
    assert f"2 classes, {len(files)} to predict" in describe(data)


def test_a_labelled_test_beside_a_valid_tree_is_there_to_predict(tmp_path: Path) -> None:
    trees = [file for name in ("train", "val", "test") for file in tree(name, "a", "b")]
    data = opened(tmp_path, *trees)
    assert data.test_root == tmp_path / "test" and data.train["is_valid"].sum() == 4


@pytest.mark.parametrize("name", ["test", "Testing", "test/test"])
def test_a_flat_test_set_beside_classes_is_no_class(tmp_path: Path, name: str) -> None:
    data = opened(tmp_path, "a/1.jpg", "b/1.jpg", f"{name}/1.jpg", f"{name}/2.jpg")
    assert set(data.train["label"]) == {"a", "b"} and data.test_root == tmp_path / name
    assert f"data: {name}/ holds what is to be predicted, and is no class" in describe(data)


@pytest.mark.parametrize("classes", [("plane", "train"), ("valid", "invalid"), ("dev", "ops")])
def test_a_class_may_have_such_a_name(tmp_path: Path, classes: tuple[str, str]) -> None:
    data = opened(tmp_path, *(f"{label}/1.jpg" for label in classes))
    assert set(data.train["label"]) == set(classes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([*tree("Train", "a", "b"), "c/1.jpg"], r"beside the trees \(Train\) lie other .*\(c\)"),
        (
            [*tree("train", "a", "b"), *tree("val", "a"), *tree("more", "a")],
            r"beside the trees \(train, val\) lie other folders of pictures \(more\); move them",
        ),
        ([*tree("train", "a", "b"), *tree("Training", "a")], "Training and train are both to tr"),
        ([*tree("train", "a"), *tree("val", "a"), *tree("dev", "a")], "dev and val are both to v"),
        ([*tree("val", "a", "b")], r"there is val, but no train/CLASS/picture\.jpg to train on"),
        ([*tree("test", "a", "b"), "train/1.jpg"], r"test, train, but no train/CLASS/picture\.jpg"),
        ([*tree("train", "a", "b"), "valid/"], "valid: has no folders of classes, so nothing wou"),
        ([*tree("train", "a", "b"), "val/1.jpg"], "val: has no folders of classes, so nothing wo"),
        ([*tree("train", "a"), *tree("val", "A")], "val: has no class of train/, so nothing would"),
        (["train/1.jpg", "test/1.jpg"], "test, train hold no folders of classes; put one folder a"),
        (["train/train/1.jpg", "test/test/1.jpg"], "test, train hold no folders of classes; put"),
        (["Train/1.jpg", "Val/1.jpg"], "Train, Val hold no folders of classes; put one folder a"),
        (["a/1.jpg", "test/1.jpg"], "1 pictures in 1 classes; .*; test/ holds what is to be pred"),
        (["data/a/1.jpg", "data/b/1.jpg"], r"in 1 classes; .*did you mean data\.root=.*/data\?"),
        (["1.jpg", "2.jpg"], "0 pictures in 0 classes; .*; 2 pictures lie in no folder of a class"),
    ],
)
def test_trees_that_are_not_whole_or_not_alone_are_refused(
    tmp_path: Path, files: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(tmp_path, *files)


def test_an_empty_test_folder_is_none(tmp_path: Path) -> None:
    assert opened(tmp_path, *tree("train", "a", "b"), "test/").test_root is None


def test_what_is_left_out_is_counted_and_told(tmp_path: Path) -> None:
    files = ["a/1.jpg", "a/1.xml", "a/2.XML", "a/raw.cr2", "b/1.jpg", "b/noname", "labels.csv"]
    odd = ["c/1.cr2", "c/2.cr2", "d/", "stray.jpg", "a/.hidden.xml"]
    told = describe(opened(tmp_path, *files, *odd)).split("\n")
    assert told[0].endswith("2 pictures, 2 classes, left out 3 .cr2, 2 .xml, 1 without suffix")
    assert told[1:] == [
        "data: 1 pictures lie in no folder of a class: stray.jpg",
        "data: 2 folders have no picture that could be read: c (2 .cr2), d (empty)",
    ]


def test_of_trees_too(tmp_path: Path) -> None:
    files = [*tree("train", "a", "b"), *tree("val", "a", "b"), "val/b/1.xyz", "train/c/1.xyz"]
    told = describe(opened(tmp_path, *files, "train/0.jpg", "train/d/")).split("\n")
    assert told[0].endswith("8 pictures, 2 classes, left out 2 .xyz")
    assert told[1:] == [
        "data: 1 pictures lie in no folder of a class: train/0.jpg",
        "data: 2 folders have no picture that could be read: train/c (1 .xyz), train/d (empty)",
    ]


def test_trees_inside_of_classes_are_told(tmp_path: Path) -> None:
    data = opened(tmp_path, *tree("a", "train", "test"), *tree("b", "train", "test"))
    assert len(data.train) == 8
    assert "folders inside of classes make no split (test, train); their pictures are mixed" in (
        describe(data)
    )


@pytest.mark.parametrize("target", [".", "..", "../a", "../../pictures"])
def test_links_in_a_circle_are_not_followed(tmp_path: Path, target: str) -> None:
    root = make(tmp_path / "pictures", "a/1.jpg", "b/1.jpg")
    for name in ("a/link", "a/zlink", "b/link"):
        (root / name).symlink_to(target)
    assert labelled_table(root)["file"].tolist() == ["a/1.jpg", "b/1.jpg"]
    told = describe(open_data(DataConfig(Source.folder, str(root))))
    assert "3 links lead to folders that are listed already, and are left out: a/link" in told


def test_links_to_elsewhere_are_followed_once(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", "1.jpg", "sub/2.jpg")
    root = make(tmp_path / "pictures", "b/1.jpg")
    (root / "a").symlink_to(elsewhere)
    (root / "a0").symlink_to(elsewhere / "sub")
    (root / "broken.jpg").symlink_to("nowhere")
    (root / "circle.jpg").symlink_to("circle.jpg")
    (root / "to_a_file").symlink_to("b/1.jpg")
    found = look_into(root)
    pictures = ["a/1.jpg", "a/sub/2.jpg", "b/1.jpg", "broken.jpg", "circle.jpg"]
    assert found.pictures == pictures and found.others == ["to_a_file"]
    assert found.remarks == [
        "1 links lead to folders that are listed already, and are left out: a0"
    ]


def test_odd_names_are_told_in_a_line(tmp_path: Path) -> None:
    data = opened(tmp_path, "a/1.jpg", "b/1.jpg", "line\nbreak.jpg", "ünï.jpg", "bytes\udcff.jpg")
    told = "3 pictures lie in no folder of a class: bytes\\udcff.jpg, line\\nbreak.jpg, ünï.jpg"
    assert describe(data).split("\n")[1:] == [f"data: {told}"]


def test_our_own_folders_are_no_classes(tmp_path: Path) -> None:
    runs = ["outputs/run/.hydra/", "outputs/run/figures/x.jpg"]
    runs += ["outputs/sweeps/s/comparison.csv", "outputs/sweeps/s/comparison.jpg"]
    runs += ["by_hand/summary.json", "by_hand/figures/x.jpg"]
    data = opened(tmp_path, "a/1.jpg", "b/1.jpg", *runs)
    assert set(data.train["label"]) == {"a", "b"}
    told = "data: 3 folders of runs are left out: by_hand, outputs/run, outputs/sweeps/s"
    assert describe(data).split("\n")[1:] == [told]
    assert look_into(tmp_path / "outputs" / "run").pictures == ["figures/x.jpg"]  # if named


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    """As another user: root may read everything."""
    root = make(tmp_path / "pictures", "a/1.jpg", "b/1.jpg", "c/1.jpg", "c/deep/2.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name in ("c", "closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    (tmp_path / "closed").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        data = open_data(DataConfig(Source.folder, str(root)))
        with pytest.raises(UserError, match=r"closed: cannot be listed \(Permission denied\)"):
            look_into(tmp_path / "closed")
    assert describe(data).endswith("c/ is left out: it cannot be listed (Permission denied)")
    assert set(data.train["label"]) == {"a", "b"}


FOLDERS = st.sampled_from(
    ["train", "Training", "val", "TEST", "test_images", "a", "b", "ünï", "no\udcff", ".git", "[a]"]
)
FILES = st.sampled_from(["1.jpg", "2.JPG", "3.gif", "x.txt", ".h.jpg", "noname", "summary.json"])
LINKS = st.tuples(st.lists(FOLDERS, max_size=3), st.sampled_from([".", "..", "../a", "nowhere"]))


@given(st.lists(st.tuples(st.lists(FOLDERS, max_size=4), FILES), max_size=25), st.lists(LINKS))
def test_any_layout_is_a_table_or_a_sentence(
    files: list[tuple[list[str], str]], links: list[tuple[list[str], str]]
) -> None:
    with TemporaryDirectory() as place_of_it:
        root = Path(folder := f"{place_of_it}/a/b")  # links lead two folders up
        root.mkdir(parents=True)
        for steps, name in files:
            root.joinpath(*steps).mkdir(parents=True, exist_ok=True)
            root.joinpath(*steps, name).touch()
        for number, (steps, target) in enumerate(links):
            if (place := root.joinpath(*steps)).is_dir():
                (place / f"link{number}").symlink_to(target)
        try:
            data = open_data(DataConfig(Source.folder, folder))
            table = split_table(data.train, data.root)
        except UserError:
            return
        assert all(line.isprintable() for line in describe(data).split("\n")[1:])
        listed = table["file"].tolist()
        assert listed == sorted(set(listed)) and table["is_valid"].nunique() == 2
        real = {(data.root / file).resolve() for file in listed}
        assert len(real) == len(listed) and all(path.is_file() for path in real)
        if data.test_root is not None:
            unlabelled = list_images(data.test_root)
            assert not {(data.test_root / file).resolve() for file in unlabelled} & real
