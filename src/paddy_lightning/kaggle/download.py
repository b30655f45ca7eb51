"""Kaggle's zip -> ``data/<competition>``: safely, checked, and whole or not at all."""

import logging
import lzma
import shutil
import stat
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from paddy_lightning.atomic import replace
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import DownloadConfig
from paddy_lightning.csv_tables import read_table
from paddy_lightning.data.listing import list_images
from paddy_lightning.data.table import KAGGLE_PLACES, DataSet, describe, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.api import check_name, fetch_archive, kaggle_api
from paddy_lightning.kaggle.errors import GIGABYTE, check_room, disk_sentence
from paddy_lightning.locks import alone

log = logging.getLogger(__name__)
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
)
LOCK = ".download.lock"
MAX_RATIO = 200  # bytes out of one byte of the zip; pictures give 1, tables 10 or 20
COUNTED = {"train.csv": "train_images", "sample_submission.csv": "test_images"}


def run_download(config: DownloadConfig) -> Path:
    """``paddy download``: have a competition's files, from where they are or from Kaggle.

    Returns:
        The folder, which ``data=paddy`` finds by itself.

    Raises:
        UserError: They cannot be had, or are not what they should be.
    """
    check_name(config.competition)
    if (found := find_files(config.competition)) is not None:
        try:
            log.info("nothing to do: %s", describe(check_files(found)))
        except UserError as error:
            raise UserError(f"{error}; move {found} away to download anew") from error
        return found
    folder = Path(KAGGLE_PLACES[0], config.competition)
    archive = folder.with_name(f"{folder.name}.zip")
    try:
        folder.parent.mkdir(exist_ok=True)
        taken = f"{folder.parent}: another process is downloading to it"
        with alone(folder.parent / LOCK, taken):
            if not archive.exists():
                log.info("downloading %s to %s", config.competition, archive)
                with kaggle_api(config.competition) as api:
                    fetch_archive(api, config.competition, archive)
            log.info("unpacking %s", archive)
            unpack(archive, folder)
            archive.unlink()
    except OSError as error:
        raise UserError(disk_sentence(error)) from error
    log.info(describe(open_data(DataConfig(Source.paddy, str(folder)))))
    return folder


def find_files(competition: str) -> Path | None:
    """The folder of a competition's files, where it is here already: also in Kaggle's notebooks."""
    for place in map(Path, KAGGLE_PLACES):
        for folder in (place / competition, *sorted(place.glob(f"*/{competition}"))):
            if folder.is_dir():
                return folder
    return None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into a folder beside ``folder``, check, and move it into place.

    Raises:
        UserError: The zip is damaged, dangerous or not of this kind; nothing of it is left.
    """
    unfinished = folder.with_name(f".{folder.name}.part")
    if unfinished.exists():  # of a process that was killed
        shutil.rmtree(unfinished)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = checked_members(opened, archive)
            need = sum(member.file_size for member in members)
            check_room(folder.parent, need, f"unpacking {archive.name}")
            bar = tqdm(members, "unpacking", leave=False, disable=not sys.stderr.isatty())
            for member in bar:
                _unpack_member(opened, member, unfinished)
        check_files(unfinished)
        replace(unfinished, folder)
    except DAMAGED as error:
        raise UserError(
            f"{archive}: is a damaged zip file ({error}); delete it and run the same command again"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def checked_members(opened: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files of a zip, once none of them can do harm.

    ``extractall`` would bend a path that leads out of the folder until it fits, write a link as a
    file, and stop at no size.

    Raises:
        UserError: Names the file.
    """
    members = [member for member in opened.infolist() if not member.is_dir()]
    seen: set[PurePosixPath] = set()
    for member in members:
        path = PurePosixPath(member.filename)
        if why := _danger(member, path) or ("is in it twice" if path in seen else ""):
            raise UserError(f"{archive}: {member.filename!r} {why}; nothing was unpacked")
        seen.add(path)
    total = sum(member.file_size for member in members)
    if total > MAX_RATIO * archive.stat().st_size:
        largest = max(members, key=lambda member: member.file_size)
        raise UserError(
            f"{archive}: would unpack to {total / GIGABYTE:.3g} GB, {MAX_RATIO} times its size and"
            f" more ({largest.filename!r} most of all); nothing was unpacked"
        )
    return members


def _danger(member: zipfile.ZipInfo, path: PurePosixPath) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(member.filename).drive:
        return "leads out of the folder"
    if "\\" in member.orig_filename or "\0" in member.orig_filename:
        return "has a name that is a path on some systems only"
    if sys.platform == "win32" and set('<>:"|?*') & set(member.filename):
        return "has a name that Windows cannot give a file"
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device, not a file"
    return "is encrypted" if member.flag_bits & 1 else ""


def _unpack_member(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """One file; reading stops at its declared size, and at its checksum if it has another."""
    path = folder / member.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target)


def check_files(folder: Path) -> DataSet:
    """The data set of a competition's folder.

    Raises:
        UserError: It is not of this kind, a table is unreadable, or the counts disagree.
    """
    data = open_data(DataConfig(Source.paddy, str(folder)))
    for table in sorted(data.root.parent.glob("*.csv")):
        rows = len(read_table(table))
        pictures = COUNTED.get(table.name)
        if pictures is None:
            continue
        count = len(list_images(data.root.parent / pictures))
        if count != rows:
            raise UserError(f"{table}: has {rows} rows, but {pictures} has {count} pictures")
    return data
