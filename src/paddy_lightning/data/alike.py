"""Pictures that look alike: whose perceptual hashes differ in few bits."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from paddy_lightning.data.equal_files import equal_files
from paddy_lightning.data.perceptual_hash import as_rows, hashes_of

# Of 256 bits. Of photos made half as large, brighter and recompressed at quality 50, none moved
# by more than 26; of 700 different photos and drawings, no two were nearer than 48.
ALIKE = 32
AT_ONCE = 2**21  # pairs of hashes


class Alike(NamedTuple):
    """What pictures look like others.

    Attributes:
        group: int64 [N]; equal for pictures that look alike, or alike to one of the same group.
        other: int64 [N], the place of another that this one looks like; its own without any.
    """

    group: np.ndarray
    other: np.ndarray


def group_alike(root: Path, files: pd.Series) -> pd.Series:
    """Equal files and pictures that look alike, in groups: a text a row, equal within a group.

    Where nothing looks alike but equal files, it is that of ``equal_files``. A file that cannot be
    read is alike to its copies only.
    """
    digests = equal_files(root, files)
    unknown = np.full(len(files), -1)
    group = find_alike(as_rows(hashes_of(root, files), digests), unknown, unknown).group
    return digests.groupby(group).transform("first")


def find_alike(hashes: np.ndarray, labels: np.ndarray, sides: np.ndarray) -> Alike:
    """Which pictures look alike: their hashes differ in few bits.

    Of all that a picture looks like, ``other`` is the first of another label, else the first on
    another side, else the first with its very hash, else the first. What has one hash, label and
    side is compared as one, so that thousands of equal files are as quick as two.

    Args:
        hashes: uint8 [N, 32].
        labels: int64 [N], -1 where there is none.
        sides: int64 [N], of the split; -1 where there is none.
    """
    words = np.ascontiguousarray(hashes).view(np.uint64)
    keys = np.column_stack([words, labels.astype(np.uint64), sides.astype(np.uint64)])
    _, firsts, kinds = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = firsts.argsort()  # the first kind is that of the first row
    firsts, kinds = firsts[order], order.argsort()[kinds.ravel()]
    several = np.bincount(kinds, minlength=len(firsts)) > 1
    group, nearest = _compare(words[firsts], labels[firsts], sides[firsts], several)

    places = np.arange(len(kinds))
    repeats = places[places != firsts[kinds]]
    seconds = firsts.copy()
    seconds[kinds[repeats[::-1]]] = repeats[::-1]  # the first of them is written last
    other = firsts[nearest[kinds]]
    other = np.where(other == places, seconds[kinds], other)
    return Alike(group[kinds], np.where(nearest[kinds] < 0, places, other))


def _compare(
    words: np.ndarray, labels: np.ndarray, sides: np.ndarray, several: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All with all: the group of each, and the one that matters most; -1 where none is alike."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, columns = len(words), np.ascontiguousarray(words.T)
    group, nearest = np.arange(count), np.full(count, -1)
    step = max(1, AT_ONCE // max(1, count))
    for start in range(0, count, step):
        here = np.arange(start, min(start + step, count))
        distances = np.zeros((len(here), count), np.uint16)
        for word in columns:
            distances += np.bitwise_count(word[here, None] ^ word)
        alike = distances <= ALIKE
        alike[here - start, here] = several[here]
        found = alike.any(axis=1)  # mostly few
        here, alike = here[found], alike[found]
        matters = alike.astype(np.uint8)
        matters[np.arange(len(here)), here] *= 2
        matters[alike & _differ(sides, here)] = 3
        matters[alike & _differ(labels, here)] = 4
        nearest[here] = matters.argmax(axis=1)
        rows, others = np.nonzero(alike)
        edges = (group[here[rows]], group[others])
        graph = coo_array((np.ones(len(rows), bool), edges), shape=(count, count))
        group = connected_components(graph, directed=False)[1][group]
    return group, nearest


def _differ(values: np.ndarray, here: np.ndarray) -> np.ndarray:
    """bool [here, all]: where both are known, and not the same."""
    known = values >= 0
    return (values[here, None] != values) & known[here, None] & known
