"""Zips that mean harm, or are broken: refused by name, and nothing of them is left."""

import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import DownloadConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle import download
from paddy_lightning.kaggle.download import LOCK, find_files, run_download, unpack

NAME = "paddy-disease-classification"
Pack = Callable[..., Path]


@pytest.fixture
def pack(stripes: Path, tmp_path: Path) -> Pack:
    """Make ``data/NAME.zip``: the competition, without some files, and some members more."""

    def make(*more: tuple[str | zipfile.ZipInfo, bytes], without: str = "nothing") -> Path:
        archive = tmp_path / "data" / f"{NAME}.zip"
        archive.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            for file in sorted(stripes.rglob("*.*")):
                name = file.relative_to(stripes).as_posix()
                if without not in name:
                    opened.write(file, name)
            for member, content in more:
                opened.writestr(member, content)
        return archive

    return make


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, target.encode()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (("../outside.jpg", b"x"), r"'\.\./outside\.jpg' leads out of the folder"),
        (("train_images/a/../../../x", b"x"), "leads out of the folder"),
        (("/tmp/absolute.jpg", b"x"), "'/tmp/absolute.jpg' leads out of the folder"),
        (("C:/Windows/x.dll", b"x"), "leads out of the folder"),
        (("train_images\\..\\..\\x", b"x"), "a path on some systems only"),
        (link("train_images/a", "/etc"), "'train_images/a' is a link or a device, not a file"),
        (link("x.csv", "../../secret"), "'x.csv' is a link or a device, not a file"),
        (("train_images/across/across00.jpg", b"x"), "'train_images/across/across00.jpg' is in it"),
        (
            ("bomb.csv", bytes(10**8)),
            r"would unpack to 0\.1 GB, 200 times its size and more \('bomb",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_means_harm_is_refused(
    pack: Pack, tmp_path: Path, member: tuple[str, bytes], why: str
) -> None:
    archive = pack(member)
    before = names(tmp_path)
    with pytest.raises(UserError, match=f"{why}.*; nothing was unpacked"):
        unpack(archive, archive.parent / NAME)
    assert names(tmp_path) == before


def test_a_zip_larger_than_the_disk_is_refused(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the sizes it declares, before anything is written."""
    archive = pack()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match=r"unpacking .*\.zip needs .* GB, and 1e-06 GB are free"):
        unpack(archive, archive.parent / NAME)


def test_a_zip_that_lies_about_a_size_is_cut_there(pack: Pack, tmp_path: Path) -> None:
    archive = pack(("lies.csv", b"a,b\n" * 10_000))
    content = archive.read_bytes()
    size, lie = (40_000).to_bytes(4, "little"), (40).to_bytes(4, "little")
    assert content.count(size) == 2
    archive.write_bytes(content.replace(size, lie))
    with pytest.raises(UserError, match="is a damaged zip file"):
        unpack(archive, archive.parent / NAME)
    assert names(archive.parent) == [archive.name]


@given(data=st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, derandomize=True
)
def test_a_broken_zip_is_one_sentence(pack: Pack, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes change: it unpacks, or is refused, and nothing half done is left."""
    archive = pack(without="across")
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # The directory at the end is where most can go wrong.
        near_end = data.draw(st.booleans())
        place = data.draw(st.integers(len(content) - 4000 if near_end else 0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    archive.write_bytes(content[: data.draw(st.integers(len(content) - 50, len(content)))])
    folder = archive.parent / NAME
    try:
        unpack(archive, folder)
    except (UserError, OSError):  # what a disk refuses, run_download turns into a sentence
        assert not folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    assert names(tmp_path) == ["data", f"data/{archive.name}"]


@pytest.mark.parametrize(
    ("without", "more", "why"),
    [
        ("train_images", [], "no train_images/ there; data=paddy wants Kaggle's layout"),
        ("200003", [], r"sample_submission\.csv: has 8 rows, but test_images has 7 pictures"),
        ("nothing", [("train.csv", b"image_id,label\nx.jpg,a\n")], r"train\.csv: has 1 rows, but"),
        ("nothing", [("other.csv", b"")], r"other\.csv: cannot be read as a table"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    pack: Pack, without: str, more: list[tuple[str, bytes]], why: str
) -> None:
    archive = pack(*more, without=without)
    with pytest.raises(UserError, match=why):
        unpack(archive, archive.parent / NAME)
    assert names(archive.parent) == [archive.name]


def test_what_a_killed_process_left_is_no_hindrance(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack()
    leftover = archive.parent / f".{NAME}.part" / "train_images" / "half.jpg"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no train_images/ there"):
        open_data(DataConfig(Source.paddy))  # what is hidden is not all there
    unpack(archive, archive.parent / NAME)
    assert not list(archive.parent.rglob("half.jpg"))
    assert len(open_data(DataConfig(Source.paddy, str(archive.parent / NAME))).train) == 60


def test_two_downloads_do_not_mix(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack()
    monkeypatch.chdir(tmp_path)
    other = FileLock(tmp_path / "data" / LOCK)
    refused = pytest.raises(UserError, match="data: another process is downloading to it")
    with other, refused:
        run_download(DownloadConfig())
    assert run_download(DownloadConfig()) == Path("data", NAME)


def test_a_folder_that_is_not_it_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / NAME).mkdir(parents=True)
    with pytest.raises(UserError, match=f"no train_images/ there.*; move data/{NAME} away to"):
        run_download(DownloadConfig())
    assert names(tmp_path) == ["data", f"data/{NAME}"]


@pytest.mark.parametrize("below", ["", "competitions/"])
def test_in_a_kaggle_notebook_all_is_there(
    stripes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    below: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "KAGGLE_PLACES", ("data", str(tmp_path / "input")))
    place = tmp_path / "input" / f"{below}{NAME}"
    place.parent.mkdir(parents=True)
    place.symlink_to(stripes)
    assert find_files(NAME) == place
    with caplog.at_level("INFO"):
        assert run_download(DownloadConfig()) == place
    assert "nothing to do: data: paddy in" in caplog.text
    assert not (tmp_path / "data").exists()
