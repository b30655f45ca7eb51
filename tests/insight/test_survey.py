"""The survey: all that was planted is found, and nothing else is accused."""

import os
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zoo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from paddy_lightning.choices import DataConfig, Resize, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.alike import ALIKE, find_alike
from paddy_lightning.data.demo import generate
from paddy_lightning.data.equal_files import equal_files
from paddy_lightning.data.presize import Presize, open_presized
from paddy_lightning.data.split import split_table
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.insight.disagreements import train_disagreements
from paddy_lightning.insight.show import show_batch, show_resize, summary
from paddy_lightning.insight.survey import (
    alike_pictures,
    duplicates,
    in_processes,
    number_groups,
    read_headers,
    report,
    survey,
)

Script = Callable[..., Any]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("drawn") / "demo", num_train=100, num_test=20)


def look(root: Path) -> pd.DataFrame:
    data = open_data(DataConfig(Source.paddy, str(root)))
    return survey(data, split_table(data.train, data.root), num_workers=2)


def test_a_sound_data_set_is_not_accused(drawn: Path) -> None:
    rows = look(drawn)
    assert list(rows) == [
        *("path", "part", "label", "height", "width", "mode", "format", "orientation", "bytes"),
        *("alike", "mend", "problem"),
    ]
    assert rows["part"].value_counts().to_dict() == {"train": 80, "valid": 20, "test": 20}
    assert (rows["height"] == 640).all() and (rows["width"] == 480).all()
    assert (rows["bytes"] == [Path(path).stat().st_size for path in rows["path"]]).all()
    assert (rows["problem"] == "").all() and not rows["mend"].any()
    assert "problems: 0, of which 0 must be mended" in report(rows)


def test_what_was_planted_is_found_and_nothing_else(drawn: Path, tmp_path: Path) -> None:
    root = shutil.copytree(drawn, tmp_path / "demo")
    before = look(root)
    parts = before.groupby("part")["path"].apply(list)
    train = root / "train_images"

    def label(path: str) -> str:
        return Path(path).parent.name

    def worse(source: str, target: Path) -> None:
        image = Image.open(source)
        half = image.resize((image.width // 2, image.height // 2))
        ImageEnhance.Brightness(half).enhance(1.1).save(target, quality=50)

    # New files may not change the split: they replace old ones of the wished part.
    plants: dict[str, tuple[bool, str]] = {}
    free = {part: iter(parts[part][1:]) for part in parts.index}
    first = {part: parts[part][0] for part in parts.index}

    def expect(one: str, other: str, mend: bool, how: str) -> None:
        plants[one] = (mend, f"{how} {other}")
        plants[other] = (mend, f"{how} {one}")

    def take(part: str, like: str, same_class: bool) -> str:
        return next(p for p in free[part] if (label(p) == label(like)) == same_class)

    one = first["train"]
    within = take("train", one, same_class=True)
    shutil.copy(one, within)
    expect(one, within, False, "the same file as")
    conflict_a = next(free["train"])
    conflict_b = take("train", conflict_a, same_class=False)
    worse(conflict_a, Path(conflict_b))
    expect(conflict_a, conflict_b, True, "looks like")
    leak_a = first["valid"]
    leak_b = take("train", leak_a, same_class=True)
    shutil.copy(leak_a, leak_b)
    expect(leak_a, leak_b, True, "the same file as")
    seen, unseen = next(free["train"]), first["test"]
    worse(seen, Path(unseen))
    expect(seen, unseen, False, "looks like")
    truncated, text, png = (next(free["train"]) for _ in range(3))
    Path(truncated).write_bytes(Path(truncated).read_bytes()[:20_000])
    plants[truncated] = (True, "cannot be read as a picture")
    Path(text).write_text("no picture")
    plants[text] = (True, "cannot be read as a picture")
    Image.open(png).save(png + ".part", "PNG")
    Path(png + ".part").rename(png)
    plants[png] = (False, "is a PNG file by another name")

    train_csv = pd.read_csv(root / "train.csv", dtype=str)
    train_csv.loc[0, "label"] = "of another class"
    train_csv.loc[len(train_csv)] = ["gone.jpg", "blast", *train_csv.iloc[0, 2:]]
    train_csv.drop(index=1).to_csv(root / "train.csv", index=False)
    sample = pd.read_csv(root / "sample_submission.csv", dtype=str, keep_default_na=False)
    sample.loc[0, "image_id"] = "missing.jpg"
    sample.to_csv(root / "sample_submission.csv", index=False)

    rows = look(root)
    found = rows[rows["problem"] != ""].set_index("path")
    for path, (mend, problem) in plants.items():
        assert problem in str(found.loc[path, "problem"]), path
        assert found.loc[path, "mend"] == mend, path
    assert "labelled" in found.loc[conflict_a, "problem"]
    assert "in train" in found.loc[leak_a, "problem"]
    rest = found.drop(index=list(plants))
    assert rest["mend"].all() and rest["height"].isna().all()
    assert sorted(rest["problem"]) == [
        "is in sample_submission.csv but not in the folder",
        "is in the folder but not in sample_submission.csv",
        "is in the folders but not in train.csv",
        "is in train.csv but not in the folders",
        "is of another class in train.csv",
    ]
    assert (train / Path(one).relative_to(train)).exists()


def test_as_a_user_types_it(run_script: Script, drawn: Path, tmp_path: Path) -> None:
    result = run_script("survey", "data=paddy", f"data.root={drawn}", "hydra.run.dir=sound")
    assert result.returncode == 0, result.stderr
    assert "sizes (height x width): 640x480 (120)" in result.stdout
    rows = pd.read_csv(tmp_path / "sound" / "survey.csv")
    assert rows.columns[0] == "path" and rows["problem"].isna().all() and len(rows) == 120
    assert Image.open(tmp_path / "sound" / "figures" / "pictures.png").width > 500

    zoo.draw(tmp_path / "zoo" / "broken", zoo.BROKEN)
    zoo.draw(tmp_path / "zoo" / "sound", zoo.SOUND)
    result = run_script("survey", "data=folder", "data.root=zoo", "hydra.run.dir=zoos")
    assert result.returncode == 1 and result.stderr == ""
    rows = pd.read_csv(tmp_path / "zoos" / "survey.csv").set_index("path")
    broken = {f"zoo/broken/{name}" for name in zoo.BROKEN}
    assert broken == set(rows.index[rows["problem"].fillna("").str.contains("cannot be read")])
    assert rows["orientation"].max() == 8


def test_showing_the_pipeline(run_script: Script, drawn: Path, tmp_path: Path) -> None:
    words = ["data=paddy", f"data.root={drawn}", "arch=resnet10t", "size=96x64", "show=true"]
    result = run_script("survey", *words, "hydra.run.dir=shown")
    assert result.returncode == 0, result.stderr
    assert "64x3x96x64" in result.stdout and "float32" in result.stdout
    for name in ("resize_methods", "batch", "one_picture"):
        assert Image.open(tmp_path / "shown" / "figures" / f"{name}.png").width > 400


@pytest.mark.parametrize("resize", Resize)
def test_showing_in_a_notebook(drawn: Path, resize: Resize) -> None:
    config = TrainConfig(
        DataConfig(Source.paddy, str(drawn)), "resnet10t", resize=resize, presize=128, size=(64, 48)
    )
    batch, unique = show_batch(config, count=4), show_batch(config, unique=True, count=4)
    assert batch.size == unique.size == (4 * 50 + 2, 66 + 2)
    tiles = [np.asarray(unique.crop((2 + 50 * n, 2, 50 + 50 * n, 66)), float) for n in range(4)]
    assert all(np.abs(tiles[0] - tile).mean() > 3 for tile in tiles[1:])
    assert len(show_resize(config).axes) == 12


def test_the_first_stage_that_fails_is_named(drawn: Path) -> None:
    config = TrainConfig(DataConfig(Source.paddy, str(drawn)), "efficientformer_l1", presize=128)
    stages = summary(config)
    assert stages["stage"].tolist()[-1] == "body"
    assert "cannot be built" in stages["problem"].iloc[-1]
    assert (stages["problem"].iloc[:-1] == "").all()
    assert stages.set_index("stage").loc["augmented", "shape"] == "64x3x128x128"


def test_headers_tell_what_pil_tells(tmp_path: Path) -> None:
    zoo.draw(tmp_path, zoo.SOUND | zoo.OTHERWISE)
    paths = pd.Series([str(path) for path in sorted(tmp_path.iterdir())])
    headers = read_headers(paths, num_workers=2)
    for path, row in zip(paths, headers.to_dict("records"), strict=True):
        with Image.open(path) as image:
            assert (row["height"], row["width"], row["mode"]) == (*image.size[::-1], image.mode)
        exif = Path(path).stem.removeprefix("exif")
        assert row["orientation"] == (int(exif) if exif.isdigit() else 1)


HASHES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=12)


@given(HASHES, st.data())
def test_groups_and_neighbours_are_those_of_all_pairs(hashes: list[bytes], data: Any) -> None:
    for _ in range(data.draw(st.integers(1, 8))):
        near = bytearray(data.draw(st.sampled_from(hashes)))
        for bit in data.draw(st.sets(st.integers(0, 255), max_size=ALIKE)):
            near[bit // 8] ^= 1 << bit % 8
        hashes = [*hashes, bytes(near)]
    count = len(hashes)
    few = st.lists(st.integers(-1, 1), min_size=count, max_size=count)
    labels, sides = (np.array(data.draw(few)) for _ in range(2))
    pixels = np.frombuffer(b"".join(hashes), np.uint8).reshape(count, -1)
    found = find_alike(pixels, labels, sides)

    bits = np.unpackbits(pixels, axis=1)
    alike = (bits[:, None] != bits[None]).sum(-1) <= ALIKE
    kinds = list(zip(hashes, labels.tolist(), sides.tolist(), strict=True))
    reach = np.linalg.matrix_power(alike.astype(float), count) > 0
    assert ((found.group[:, None] == found.group) == reach).all()
    for row in range(count):
        others = [other for other in np.flatnonzero(alike[row]) if other != row]
        matters = [
            [o for o in others if min(labels[row], labels[o]) >= 0 and labels[row] != labels[o]],
            [o for o in others if min(sides[row], sides[o]) >= 0 and sides[row] != sides[o]],
            [o for o in others if kinds[row] == kinds[o]],
            others,
        ]
        assert found.other[row] == next((rows[0] for rows in matters if rows), row)


def test_thousands_of_equal_pictures_are_one_group(tmp_path: Path) -> None:
    """A row a picture, each with one other: what a survey says does not grow with the square."""
    count = 3000
    folder = tmp_path / "train_images"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
    Image.new("RGB", (8, 8), "grey").save(folder / "a" / "0000.jpg")
    for number in range(1, count):
        (folder / "ab"[number % 2] / f"{number:04}.jpg").hardlink_to(folder / "a" / "0000.jpg")
    rows = pd.DataFrame({"path": [str(path) for path in sorted(folder.glob("*/*"))]})
    rows["label"] = [Path(path).parent.name for path in rows["path"]]
    rows["part"] = np.where(np.arange(count) % 5 == 0, "valid", "train")
    hashes, digests = pd.Series([b"\0" * 32] * count), equal_files(Path(), rows["path"])
    alike = alike_pictures(rows, hashes, digests)
    found = list(duplicates(rows, alike, digests))
    assert [finding.row for finding in found] == list(range(count))
    assert all(finding.mend for finding in found)
    first_b = f"the same file as {folder / 'b' / '0001.jpg'}, labelled b"
    assert found[0].problem == f"{first_b} (one of 3000 alike)"
    assert len({finding.problem for finding in found}) < 10
    assert (number_groups(alike.group, rows.index) == 1).all()
    assert "problems: 3000, of which" in report(survey_of(rows, found))


def survey_of(rows: pd.DataFrame, found: list[Any]) -> pd.DataFrame:
    header = {"height": 8, "width": 8, "mode": "RGB", "format": "JPEG", "orientation": 1}
    told = pd.DataFrame(found).set_index("row")[["mend", "problem"]]
    return pd.concat([rows, pd.DataFrame(header, rows.index), told], axis=1)


def test_files_that_cannot_be_read_are_alike_to_their_copies_only(tmp_path: Path) -> None:
    for name, content in (("1", b"no"), ("2", b"no"), ("3", b"on"), ("4", b"other")):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    rows = pd.DataFrame({"path": [str(tmp_path / f"{name}.jpg") for name in "12345"]})
    rows = rows.assign(label="a", part="train")
    digests = equal_files(Path(), rows["path"])
    hashes = pd.Series([None] * 5, dtype=object)
    assert alike_pictures(rows, hashes, digests).other.tolist() == [1, 0, 2, 3, 4]


@pytest.mark.parametrize(
    ("csv", "expected"),
    [
        ({"image_id": ["1.jpg", "2.jpg", "3.jpg"]}, []),  # without labels
        ({"image_id": ["1", "2", "3"], "label": ["a", "a", "b"]}, []),  # without suffixes
        ({"image_id": ["a/1.jpg", "a/sub/2.jpg", "b/3.jpg"], "label": ["a", "a", "b"]}, []),
        ({"image_id": ["a\\1.jpg", " 2.jpg", "./b/3.jpg"], "label": ["a", "a", "b"]}, []),
        ({"": ["0", "1", "2"], "id": ["1.jpg", "2.jpg", "3.jpg"], "label": ["a", "a", "b"]}, []),
        ({"label": ["a", "a", "b"], "id": ["1.jpg", "2.jpg", "3.jpg"]}, []),
        ({"id": ["1.jpg", "1.jpg", "2.jpg", "3.jpg"], "label": ["a", "a", "a", "b"]}, []),
        ({"id": ["x", "y"], "label": ["a", "b"]}, ["train.csv: names none of the pictures"]),
        (
            {"id": ["1.jpg", "3.jpg", "4.jpg"], "label": ["b", "b", "b"]},
            [
                "4.jpg: is in train.csv but not in the folders",
                "a/sub/2.jpg: is in the folders but not in train.csv",
                "a/1.jpg: is b in train.csv",
            ],
        ),
    ],
)
def test_a_train_csv_of_any_shape_is_compared(
    csv: dict[str, list[str]], expected: list[str]
) -> None:
    labels = {"a/1.jpg": "a", "a/sub/2.jpg": "a", "b/3.jpg": "b"}
    found = list(train_disagreements(pd.DataFrame(csv), labels))
    assert [f"{row.path}: {row.problem}" for row in found] == expected
    assert all(row.mend for row in found if "none of" not in row.problem)


def test_equal_names_in_two_classes_do_not_hide_each_other() -> None:
    labels = {"a/1.jpg": "a", "b/1.jpg": "b", "c/2.jpg": "c"}
    listed = pd.DataFrame({"id": ["1.jpg", "1.jpg", "2.jpg"], "label": ["a", "b", "c"]})
    assert list(train_disagreements(listed, labels)) == []
    (missing,) = train_disagreements(listed.drop(index=1), labels)
    assert (missing.path, missing.label) == ("b/1.jpg", "b")
    assert list(train_disagreements(listed.drop(index=1), labels, frozenset({"b/1.jpg"}))) == []


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHI4s", 0x0112, 2, 4, b"abc"),  # a text
        struct.pack("<HHI4s", 0x0112, 3, 1, b"\x09"),  # there are eight
        struct.pack("<HHII", 0x0112, 5, 1, 0),  # a fraction, of other bytes
        struct.pack("<HHII", 0x0112, 3, 99, 9999),  # beyond the end
        struct.pack("<HHI4s", 0x0112, 7, 4, b"\xff" * 4),  # of no type
        b"",
    ],
)
def test_an_orientation_that_makes_no_sense_is_upright(tmp_path: Path, entry: bytes) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    Image.new("RGB", (8, 6)).save(tmp_path / "odd.jpg", exif=exif)
    headers = read_headers(pd.Series([str(tmp_path / "odd.jpg"), "x" * 5000]), num_workers=1)
    assert headers["orientation"].tolist() == [1, pd.NA]
    assert open_presized(tmp_path / "odd.jpg", Presize((6, 8))).shape == (6, 8, 3)


def killed_by_some(path: str) -> str:
    """A decoder that crashes."""
    if path == "bad" or (path == "once" and not Path("been").exists()):
        Path("been").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [("bad", "bad: who opens it is killed; move it away"), ("once", "was killed, by someone or")],
)
def test_a_file_that_kills_its_reader_is_named(
    tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = pd.Series(["first", name, "last"])
    with pytest.raises(UserError, match=message):
        in_processes(killed_by_some, paths, 2, "pictures")
    assert in_processes(killed_by_some, paths[:1], 2, "pictures") == ["first"]
