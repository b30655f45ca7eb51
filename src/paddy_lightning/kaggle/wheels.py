"""Installed packages of pure Python -> wheels, as they are installed here; no network is asked."""

import base64
import csv
import hashlib
import io
import re
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import paddy_lightning
from paddy_lightning.atomic import written_whole
from paddy_lightning.errors import UserError

OWN = "paddy-lightning"
NOT_IN_A_WHEEL = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")  # pip writes them anew
TAG = "py3-none-any"


def pack_wheel(name: str, folder: Path) -> Path:
    """Make the wheel that a package came from, or could have come from.

    Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

    Args:
        name: Of the package.
        folder: Where the wheel goes.

    Returns:
        The wheel.

    Raises:
        UserError: It is not installed as pip would, or not of pure Python.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise UserError(f"{name}: is not installed here; pip install it first") from None
    about = found.read_text("WHEEL")
    if about is None or "none-any" not in about:
        raise UserError(f"{name}: its wheel is of one system, or not pip's; pip download has it")
    files = _own_files(found) if name == OWN else _files(found)
    stem = f"{re.sub('[-_.]+', '_', found.metadata['Name']).lower()}-{found.version}"
    with written_whole(folder / f"{stem}-{TAG}.whl") as temporary:
        _write(temporary, files, f"{stem}.dist-info")
    return folder / f"{stem}-{TAG}.whl"


def _files(found: Distribution) -> dict[str, Path]:
    """What pip wrote of it, by the names within the wheel; scripts are made anew from there."""
    listed = {file.as_posix(): Path(str(file.locate())) for file in found.files or []}
    return {
        name: path
        for name, path in listed.items()
        if not name.startswith("..") and path.suffix != ".pyc" and path.is_file()
    }


def _own_files(found: Distribution) -> dict[str, Path]:
    """Of this package, also where it is installed as ``--editable``."""
    package = Path(paddy_lightning.__file__).parent
    places = {package.name: package}
    if not (package / "conf").is_dir():
        places[f"{package.name}/conf"] = package.parents[1] / "conf"
    files = {
        f"{prefix}/{path.relative_to(place).as_posix()}": path
        for prefix, place in places.items()
        for path in sorted(place.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = {name: path for name, path in _files(found).items() if ".dist-info/" in name}
    return files | about


def _write(wheel: Path, files: dict[str, Path], info: str) -> None:
    """The files, those about it in a folder of the name that the wheel's asks for, and RECORD."""
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, path in sorted(files.items()):
            folder, _, rest = name.partition("/")
            inside = f"{info}/{rest}" if folder.endswith(".dist-info") else name
            if inside.startswith(info) and rest in NOT_IN_A_WHEEL:
                continue
            content = path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            rows.writerow([inside, f"sha256={digest.rstrip('=')}", len(content)])
            packed.writestr(zipfile.ZipInfo(inside), content, zipfile.ZIP_DEFLATED)
        rows.writerow([f"{info}/RECORD", "", ""])
        packed.writestr(zipfile.ZipInfo(f"{info}/RECORD"), record.getvalue())
