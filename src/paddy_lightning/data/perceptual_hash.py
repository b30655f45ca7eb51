"""Perceptual hashes: bits that change little when a picture is scaled, recompressed or lit."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from paddy_lightning.data.presize import Presize, open_presized
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import UserError

HASH_SIDE = 16  # a hash has 256 bits
HASHED_SIZE = (4 * HASH_SIDE, 4 * HASH_SIDE)  # of the picture that is hashed


def perceptual_hash(image: Image.Image) -> bytes:
    """32 bytes that change little when a picture is scaled, recompressed or lit otherwise."""
    from imagehash import phash  # brings scipy: few need it

    return np.packbits(phash(image, HASH_SIDE).hash).tobytes()


def hash_or_problem(path: str) -> tuple[bytes | None, str | None]:
    """The hash of a file, or what is wrong with it."""
    try:
        small = open_presized(Path(path), Presize(HASHED_SIZE))
        return perceptual_hash(Image.fromarray(small)), None
    except UserError as error:
        return None, str(error).removeprefix(f"{path}: ")


def hashes_of(root: Path, files: pd.Series) -> pd.Series:
    """The hash of each file, in a thread a core; None of those that cannot be read."""
    paths = [os.path.join(root, file) for file in files]  # noqa: PTH118  (a Path for each costs)
    with ThreadPoolExecutor(num_cores()) as pool:
        found = [hashed for hashed, _ in pool.map(hash_or_problem, paths)]
    return pd.Series(found, files.index, dtype=object)


def as_rows(hashes: pd.Series, digests: pd.Series) -> np.ndarray:
    """uint8 [N, 32]; what has no hash gets one of its digest, and is alike to the same file only.

    Args:
        hashes: 32 bytes each, or None.
        digests: Of ``equal_files``.
    """
    broken = hashes.isna()
    stand_ins = digests[broken].map(lambda text: hashlib.sha256(os.fsencode(text)).digest())
    whole = b"".join(hashes.where(~broken, stand_ins))
    return np.frombuffer(whole, np.uint8).reshape(len(hashes), -1)
