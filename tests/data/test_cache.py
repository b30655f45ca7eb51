"""Presized pictures are kept rightly: after kills and changes, side by side, and on full disks."""

import errno
import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from conftest import PADDY
from PIL import Image
from small import small

from paddy_lightning.choices import Resize
from paddy_lightning.data.cache import Cache, default_place
from paddy_lightning.data.listing import list_images
from paddy_lightning.data.pixels import Writer
from paddy_lightning.data.presize import Presize, open_whole
from paddy_lightning.data.room import locked
from paddy_lightning.errors import UserError
from paddy_lightning.training.train import train

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
    """What lies there, but for the lock, whose file some versions of filelock remove."""
    return {path.suffix or path.name for path in folder.iterdir()} - {"lock"}


@pytest.mark.parametrize("resize", Resize)
def test_what_is_kept_is_what_the_files_give(root: Path, files: pd.Series, resize: Resize) -> None:
    presize = Presize((48, 64), resize)
    assert cache_of(root, presize).open(files) is None
    assert cache_of(root, presize).fill(files, num_workers=2).empty
    assert assert_right(root, files, presize) == 60
    assert names(cache_of(root, presize).folder) == {".index", ".pixels"}


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
    assert names(pixels.parent) == {".index", ".pixels"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "file,offset\na,b\n",
        lambda text: "\0",
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text.replace(",48,40,", ",-48,40,"),
        lambda text: text.replace(",48,40,", f",{10**20},40,"),
    ],
    ids=["empty", "other columns", "zero", "a line twice", "below zero", "beyond 64 bits"],
)
def test_an_index_that_cannot_be_read_is_made_anew(
    root: Path, files: pd.Series, damage: Callable[[str], str]
) -> None:
    """And whoever still reads by the old one sees no other pictures."""
    cache_of(root).fill(files, num_workers=1)
    (index,) = cache_of(root).folder.glob("*.index")
    reading = cache_of(root).open(files)
    index.write_text(damage(index.read_text()))
    cache_of(root).fill(files[::-1], num_workers=1)
    assert assert_right(root, files) == 60
    for row, file in enumerate(files):
        picture = reading.read(row) if reading else None
        assert picture is not None and np.array_equal(picture, open_whole(root / file, PRESIZE))


def test_pixels_that_end_early_are_not_used(root: Path, files: pd.Series) -> None:
    """Nor made longer by a hole, which would be black pictures."""
    cache_of(root).fill(files[:50], num_workers=1)
    (pixels,) = cache_of(root).folder.glob("*.pixels")
    os.truncate(pixels, 30 * PICTURE + 5)
    assert assert_right(root, files) == 30
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60


def as_bitmaps(root: Path) -> pd.Series:
    """Bitmaps: of one size, whatever they show; and their times say nothing."""
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        bitmap = path.with_name(f"{number % 20:02}.bmp")
        Image.open(path).save(bitmap)
        os.utime(bitmap, (1, 1))
        path.unlink()
    return pd.Series(list_images(root))


def other_pixels(root: Path) -> None:
    bitmap = sorted(root.rglob("*.bmp"))[5]
    with bitmap.open("r+b") as file:
        file.seek(60)
        file.write(bytes(5000))
    os.utime(bitmap, (1, 1))


def folders_swapped(root: Path) -> None:
    (root / "across").rename(root / "x")
    (root / "down").rename(root / "across")
    (root / "x").rename(root / "down")


@pytest.mark.parametrize(("change", "left"), [(other_pixels, 59), (folders_swapped, 20)])
def test_other_pixels_of_the_same_size_and_time_are_seen(
    root: Path, change: Callable[[Path], None], left: int
) -> None:
    files = as_bitmaps(root)
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60
    change(root)
    assert assert_right(root, files) == left
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60


def test_absolute_paths_are_looked_at_too(root: Path, tmp_path: Path) -> None:
    """As a CSV may have them: changes and deletions are seen."""
    files = pd.Series([str(root / file) for file in list_images(root)])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cache = Cache(tmp_path / "cache", elsewhere, PRESIZE, 1e9)
    assert cache.fill(files, num_workers=1).empty
    shutil.copy(files[0], files[59])
    Path(files[7]).unlink()
    kept = cache.open(files)
    assert kept is not None
    assert [row for row in range(60) if kept.read(row) is None] == [7, 59]
    assert list(cache.fill(files, num_workers=1).index) == [7]


def test_odd_times_and_names_are_no_reason_to_stop(root: Path, files: pd.Series) -> None:
    os.utime(root / files[3], ns=(0, -(10**18)))
    os.utime(root / files[4], ns=(0, 12 * 10**18))  # the year 2350
    files = pd.concat([files, pd.Series(["no\0name.jpg"], index=[60])])
    assert list(cache_of(root).fill(files, num_workers=1).index) == [60]
    assert assert_right(root, files[:60]) == 60


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
from paddy_lightning.data import cache, pixels
from paddy_lightning.data.presize import Presize
from paddy_lightning.data.listing import list_images
pixels.COMMIT = 8
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
        assert names(cache_of(root).folder) == {".index", ".pixels"}
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


def _fill_as(root: Path, presize: Presize, limit: float) -> None:
    cache_of(root, presize, limit).fill(pd.Series(list_images(root)), num_workers=1)


def test_pixels_are_on_the_disk_before_the_index_names_them(
    root: Path, files: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        happened.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)
        fsync(descriptor)

    def recorded_replace(path: Path, target: Path) -> Path:
        happened.append(f"named {target.suffix}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    cache_of(root).fill(files, num_workers=1)
    assert ".pixels" in happened[: happened.index("named .index")]


def test_jobs_side_by_side_keep_to_the_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three that could each fill most of it alone; they wait for each other in the midst of it."""
    monkeypatch.setattr("paddy_lightning.data.room.STEP", 4 * PICTURE)
    limit, most = 100 * PICTURE, 0
    (meeting := root.parent / "meeting").mkdir()
    keep, calls = Writer.keep, itertools.count()

    def keep_together(*told: Any) -> Any:
        if next(calls) == 24:  # of 60
            (meeting / str(os.getpid())).touch()
            deadline = time.monotonic() + 60
            while not (meeting / "seen").exists() and time.monotonic() < deadline:
                time.sleep(0.001)
        return keep(*told)

    monkeypatch.setattr(Writer, "keep", keep_together)
    ways = [Presize((48, 40), resize) for resize in (Resize.squish, Resize.pad)]
    with ProcessPoolExecutor(3) as pool:
        jobs = [pool.submit(_fill_as, root, way, limit) for way in [*ways, Presize((40, 48))]]
        while not all(job.done() for job in jobs):
            # Or one could be cleared, and another take its room, between two looks.
            with suppress(OSError), locked(root.parent / "cache"):
                all_there = len(list(meeting.iterdir())) >= len(jobs)
                sizes = [path.stat().st_size for path in root.parent.glob("cache/*/*.pixels")]
                most = max(most, sum(sizes))
                if all_there:
                    (meeting / "seen").touch()
            time.sleep(0.002)
    assert [job.exception() for job in jobs] == [None] * 3
    assert 60 * PICTURE < most <= limit  # more than one of them would take alone


def test_what_is_being_read_is_not_cleared(root: Path, files: pd.Series) -> None:
    """Also once a forked worker has ended; but a killed process holds nothing."""
    cache, other = cache_of(root, PRESIZE, 60 * PICTURE), Presize((40, 48))
    cache.fill(files, num_workers=1)
    (pixels,) = cache.folder.glob("*.pixels")

    def is_cleared() -> bool:
        _fill_as(root, other, 60 * PICTURE)
        return not pixels.exists()

    kept = cache.open(files)
    if (worker := os.fork()) == 0:
        os._exit(0 if kept and kept.read(0) is not None else 1)
    assert os.waitpid(worker, 0)[1] == 0
    assert not is_cleared() and assert_right(root, files) == 60
    if (reader := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    del kept
    assert not is_cleared()
    os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
    assert is_cleared()


def test_pixels_that_are_being_read_count_until_they_are_cleared(
    root: Path, files: pd.Series
) -> None:
    """A run goes on with what it has opened, although a picture changed for the next."""
    cache_of(root).fill(files, num_workers=1)
    (old,) = cache_of(root).folder.glob("*.pixels")
    kept, before = cache_of(root).open(files), open_whole(root / files[59], PRESIZE)
    shutil.copy(root / files[0], root / files[59])
    cache_of(root).fill(files, num_workers=1)
    assert assert_right(root, files) == 60
    after = kept.read(59) if kept else None
    assert old.exists() and after is not None and np.array_equal(after, before)
    del kept
    shutil.copy(root / files[1], root / files[59])
    cache_of(root).fill(files, num_workers=1)
    assert not old.exists() and assert_right(root, files) == 60


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", Mock(side_effect=KeyError))
    with pytest.raises(UserError, match=r"cache: .*home.*; cache=FOLDER sets a place"):
        default_place()


def test_another_users_cache_is_read(
    root: Path, files: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_of(root).fill(files, num_workers=1)
    monkeypatch.setattr(os, "utime", Mock(side_effect=PermissionError))
    assert assert_right(root, files) == 60


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks(
    root: Path, files: pd.Series, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is read; filling goes without, or with a lock of another kind."""
    cache_of(root).fill(files[:30], num_workers=1)
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(number, "no locks here")))
    assert assert_right(root, files) == 30
    assert cache_of(root).fill(files, num_workers=1).empty
    assert assert_right(root, files) >= 30


def test_nothing_of_the_users_is_cleared(root: Path, files: pd.Series) -> None:
    place = root.parent / "cache"
    theirs = [place / "notes.csv", place / "data" / "train.csv", place / "data" / "lock"]
    theirs += [place / "data" / "my.pixels", place / "data" / "my.index"]
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
    monkeypatch.setattr("paddy_lightning.data.room.KEPT_FREE", reserve)
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
        [*PADDY, "train", *words],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    decodes = pd.Series((tmp_path / "decodes").read_text().splitlines()).value_counts()
    assert len(decodes) == 60 and (decodes == 1).all()
