"""Presized pictures are kept rightly: after kills and changes, side by side, and on full disks."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from test_training import small

from paddy_lightning.cache import Cache
from paddy_lightning.config import Resize
from paddy_lightning.listing import list_images
from paddy_lightning.presize import Presize, open_whole
from paddy_lightning.training import train

PRESIZE = Presize((48, 40))
PICTURE = 48 * 40 * 3  # bytes
KILLS = 11 + int(os.environ.get("PADDY_KILLS", "1"))


@pytest.fixture
def root(stripes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stripes / "train_images", tmp_path / "pictures"))


@pytest.fixture
def files(root: Path) -> pd.Series:
    return pd.Series(list_images(root))


def cache_of(root: Path, presize: Presize = PRESIZE, limit: float = 1e9) -> Cache:
    return Cache(root.parent / "cache", root, presize, limit)


def assert_right(root: Path, files: pd.Series, presize: Presize = PRESIZE) -> int:
    """What is kept is what the files give now; says how many are kept."""
    kept = cache_of(root, presize).open(files)
    assert kept is not None
    pictures = [kept.read(row) for row in range(len(files))]
    for file, picture in zip(files, pictures, strict=True):
        if picture is not None:
            assert np.array_equal(picture, open_whole(root / file, presize)), file
    return sum(picture is not None for picture in pictures)


def names(folder: Path) -> set[str]:
    return {path.suffix or path.name for path in folder.iterdir()}


@pytest.mark.parametrize("resize", Resize)
def test_what_is_kept_is_what_the_files_give(root: Path, files: pd.Series, resize: Resize) -> None:
    presize = Presize((48, 64), resize)
    assert cache_of(root, presize).open(files) is None
    assert cache_of(root, presize).fill(files, num_workers=2).empty
    assert assert_right(root, files, presize) == 60
    assert names(cache_of(root, presize).folder) == {"lock", ".index", ".pixels"}


def test_broken_files_are_found_and_the_others_kept(root: Path, files: pd.Series) -> None:
    (root / files[7]).write_bytes(b"not a picture")
    problems = cache_of(root).fill(files, num_workers=2)
    assert list(problems.index) == [7] and files[7] in problems[7]
    assert assert_right(root, files.drop(7)) == 59


def test_new_files_are_added_and_a_changed_one_begins_anew(
    root: Path, files: pd.Series, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache_of(root).fill(files[:40], num_workers=1)
    (pixels,) = cache_of(root).folder.glob("*.pixels")
    cache_of(root).fill(files, num_workers=1)
    assert pixels.stat().st_size == 60 * PICTURE and assert_right(root, files) == 60
    shutil.copy(root / files[0], root / files[59])
    assert assert_right(root, files) == 59  # at once, without being filled anew
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60
    assert not pixels.exists() and len(list(cache_of(root).folder.glob("*.pixels"))) == 1


def test_what_was_appended_but_not_named_is_overwritten(root: Path, files: pd.Series) -> None:
    """As after a kill between the two."""
    cache_of(root).fill(files[:10], num_workers=1)
    (pixels,) = cache_of(root).folder.glob("*.pixels")
    with pixels.open("ab") as file:
        file.write(b"rubbish")
    ended = subprocess.Popen(["true"])
    ended.wait()
    (pixels.parent / f".some.index.{ended.pid}.part").write_text("rubbish")
    assert assert_right(root, files) == 10
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60 and pixels.stat().st_size == 60 * PICTURE
    assert names(pixels.parent) == {"lock", ".index", ".pixels"}


@pytest.mark.parametrize("damage", ["", "file,offset\na,b\n", "\0"])
def test_an_index_that_cannot_be_read_is_made_anew(
    root: Path, files: pd.Series, damage: str
) -> None:
    cache_of(root).fill(files, num_workers=1)
    (index,) = cache_of(root).folder.glob("*.index")
    index.write_text(damage)
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60


def test_pixels_that_end_early_are_not_used(root: Path, files: pd.Series) -> None:
    cache_of(root).fill(files, num_workers=1)
    (pixels,) = cache_of(root).folder.glob("*.pixels")
    os.truncate(pixels, 30 * PICTURE + 5)
    assert assert_right(root, files) == 30


def _fill(root: Path) -> int:
    return len(cache_of(root).fill(pd.Series(list_images(root)), num_workers=2))


def test_several_processes_fill_it_once(root: Path, files: pd.Series) -> None:
    with ProcessPoolExecutor(4) as pool:
        assert list(pool.map(_fill, [root] * 8)) == [0] * 8
    (pixels,) = cache_of(root).folder.glob("*.pixels")
    assert pixels.stat().st_size == 60 * PICTURE and assert_right(root, files) == 60


FILL = """
import sys
from pathlib import Path
import pandas as pd
from paddy_lightning import cache
from paddy_lightning.presize import Presize
from paddy_lightning.listing import list_images
cache.COMMIT = 8
root = Path(sys.argv[1])
made = cache.Cache(root.parent / "cache", root, Presize((48, 40)), 1e9)
made.fill(pd.Series(list_images(root)), num_workers=2)
"""


def test_a_killed_writer_leaves_what_is_right(root: Path, files: pd.Series) -> None:
    """Killed some milliseconds later each time, until one comes to its end."""
    for number in range(400):  # enough to take a while
        shutil.copy(root / files[number % 60], root / f"{number:03}.jpg")
    files = pd.Series(list_images(root))
    partly = set()
    for wait in np.linspace(0.0, 0.3, KILLS):
        shutil.rmtree(root.parent / "cache", ignore_errors=True)
        writer = subprocess.Popen([sys.executable, "-c", FILL, str(root)])
        while not list(root.parent.glob("cache/*/*.pixels")):
            time.sleep(0.001)
        time.sleep(wait)
        writer.kill()
        writer.wait()
        if cache_of(root).open(files):
            partly.add(assert_right(root, files))
        cache_of(root).fill(files, num_workers=2)
        assert assert_right(root, files) == 460
        assert names(cache_of(root).folder) == {"lock", ".index", ".pixels"}
    assert any(0 < count < 460 for count in partly), partly


def test_the_limit_holds_and_what_was_longest_of_no_use_goes(
    root: Path, files: pd.Series, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 130 * PICTURE
    ways = [Presize((48, 40), resize) for resize in (Resize.squish, Resize.pad)]
    for age, presize in enumerate(ways):
        cache_of(root, presize, limit).fill(files, num_workers=1)
        os.utime(cache_of(root, presize).folder, (age, age))
    cache_of(root, ways[0]).open(files)  # of use again
    third = Presize((40, 48))
    cache_of(root, third, limit).fill(files, num_workers=1)
    assert [assert_right(root, files, way) for way in (ways[0], third)] == [60, 60]
    assert cache_of(root, ways[1]).open(files) is None
    assert not caplog.records
    fourth = Presize((96, 80))
    cache_of(root, fourth, limit).fill(files, num_workers=1)
    assert assert_right(root, files, fourth) == 130 // 4
    assert "holds 32 of 60 pictures (no more room; cache_gb=" in caplog.text


def test_nothing_of_the_users_is_cleared(root: Path, files: pd.Series) -> None:
    place = root.parent / "cache"
    theirs = [place / "notes.csv", place / "data" / "train.csv", place / "data" / "lock"]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for presize in (PRESIZE, Presize((40, 48))):
        cache_of(root, presize, limit=61 * PICTURE).fill(files, num_workers=1)
    assert cache_of(root).open(files) is None
    assert all(path.read_text() == "mine" for path in theirs)


def test_a_place_that_cannot_be_written_is_gone_without(
    root: Path, files: pd.Series, caplog: pytest.LogCaptureFixture
) -> None:
    (root / files[3]).write_bytes(b"")
    blocked = root.parent / "file"
    blocked.write_text("")
    problems = Cache(blocked, root, PRESIZE, 1e9).fill(files, num_workers=1)
    assert list(problems.index) == [3]
    assert "cache: goes without" in caplog.text and "cache=FOLDER" in caplog.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a full disk: mounting one needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("reserve", [0.05, -1.0], ids=["seen coming", "run into"])
def test_on_a_full_disk_it_goes_without_and_says_so(
    root: Path,
    files: pd.Series,
    small_disk: Path,
    reserve: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("paddy_lightning.cache.KEPT_FREE", reserve)
    (root / files[59]).write_bytes(b"")
    cache = Cache(small_disk, root, PRESIZE, 1e9)
    assert list(cache.fill(files, num_workers=2).index) == [59]
    told = "no more room" if reserve > 0 else "No space left on device"
    assert "of 60 pictures" in caplog.text and told in caplog.text
    kept = cache.open(files)
    pictures = [kept.read(row) if kept else None for row in range(60)]
    for file, picture in zip(files, pictures, strict=True):
        if picture is not None:
            assert np.array_equal(picture, open_whole(root / file, PRESIZE))
    assert reserve < 0 or sum(picture is not None for picture in pictures) > 20


@pytest.mark.parametrize("resize", ["squish", "crop"])
def test_with_and_without_it_the_numbers_are_the_same(
    stripes: Path, tmp_path: Path, resize: str
) -> None:
    place = str(tmp_path / "cache")
    runs = [
        train(
            small(stripes, epochs=1, resize=resize, cache=cache, num_workers=workers),
            tmp_path / name,
        )
        for name, cache, workers in (
            ("filled", place, 0),
            ("found", place, 2),
            ("without", "off", 0),
        )
    ]
    assert len({run["valid_loss"] for run in runs}) == 1
    tables = [
        (tmp_path / name / "valid_predictions.csv").read_text()
        for name in ("filled", "found", "without")
    ]
    assert tables[0] == tables[1] == tables[2]


COUNTING = """
import os
from PIL import ImageFile

load = ImageFile.ImageFile.load

def counted(self):
    if self.tile and (name := str(getattr(self, "filename", ""))).startswith(os.environ["COUNTED"]):
        with open(os.environ["DECODES"], "a") as file:
            file.write(name + "\\n")
    return load(self)

ImageFile.ImageFile.load = counted
"""


def test_a_sweep_of_four_jobs_decodes_every_file_once(stripes: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(COUNTING)
    words = ["-m", "arch=mobilenetv3_small_050,resnet10t", "size=40x32,32x24", "presize=48x40"]
    words += ["data=paddy", f"data.root={stripes}", "weights=none", "epochs=1", "batch_size=16"]
    words += [f"cache={tmp_path / 'cache'}", "hydra.sweep.dir=sweep"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]),
        "COUNTED": str(stripes / "train_images"),
        "DECODES": str(tmp_path / "decodes"),
    }
    subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    decodes = pd.Series((tmp_path / "decodes").read_text().splitlines()).value_counts()
    assert len(decodes) == 60 and (decodes == 1).all()
