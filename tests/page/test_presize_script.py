"""The page's own resize (presize.js) against data/presize.py, byte for byte, run by node."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from paddy_lightning import page
from paddy_lightning.choices import PadMode, Resize, Size
from paddy_lightning.data.presize import THIN, Presize, cut, fit, open_presized, resize_box

STATIC = Path(page.__file__).parent / "static"
RUN = """
import { readFileSync, writeFileSync } from 'node:fs';
const { presize } = await import(process.argv[1]);
const bytes = readFileSync(0);
const length = bytes.readUInt32LE();
const results = [];
let at = 4 + length;
for (const { height, width, drafted, way } of JSON.parse(bytes.toString('utf8', 4, at))) {
    const data = bytes.subarray(at, (at += height * width * 4));
    const rows = (top, count) => data.subarray(top * width * 4, (top + count) * width * 4);
    results.push(presize({ height, width, drafted, orientation: 1, rows }, way));
}
writeFileSync(1, Buffer.concat(results));
"""
Case = tuple[Size, Presize]
PILLOW = tuple(int(part) for part in PIL.__version__.split(".")[:2])


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("the page's resize: node is not on this machine")
    return found


def by_script(node: str, pictures: list[np.ndarray], ways: list[Presize]) -> list[np.ndarray]:
    """What presize.js makes of pictures, uint8 [height, width, 3]."""
    told = [
        {
            "height": picture.shape[0],
            "width": picture.shape[1],
            "drafted": way.draft,
            "way": dict(zip(("presize", "resize", "pad_mode", "draft"), way, strict=True)),
        }
        for picture, way in zip(pictures, ways, strict=True)
    ]
    head = json.dumps(told).encode()
    opaque = [np.dstack([one, np.full(one.shape[:2], 255, np.uint8)]) for one in pictures]
    sent = len(head).to_bytes(4, "little") + head + b"".join(one.tobytes() for one in opaque)
    command = [node, "--input-type=module", "-e", RUN, (STATIC / "presize.js").as_uri()]
    result = subprocess.run(command, input=sent, capture_output=True, check=True)
    ends = np.cumsum([0, *(3 * way.size[0] * way.size[1] for way in ways)])
    values = np.frombuffer(result.stdout, np.uint8)
    assert len(values) == ends[-1]
    return [
        values[start:end].reshape(*way.size, 3)
        for start, end, way in zip(ends[:-1], ends[1:], ways, strict=True)
    ]


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def cases() -> list[Case]:
    """Sizes of all proportions, as a thousand draws give them, and the corners."""
    rng = np.random.default_rng(0)
    chosen: list[Case] = []
    for number in range(1000):
        height, width, down, across = map(int, (*rng.integers(1, 120, 2), *rng.integers(1, 60, 2)))
        resize, pad_mode = list(Resize)[number % 3], list(PadMode)[number // 3 % 3]
        chosen.append(((height, width), Presize((down, across), resize, pad_mode, False)))
    for source in ((1, 1), (1, 7), (500, 333), (333, 500), (48, 48)):
        for resize in Resize:
            chosen += [(source, Presize((48, 48), resize, mode, False)) for mode in PadMode]
    return [case for case in chosen if not made_smaller_first(*case)]


def made_smaller_first(source: Size, way: Presize) -> bool:
    """Whether Python takes another way, to save memory: long and thin, with borders around."""
    box = resize_box(source, way.size, way.resize)
    return box.width * box.height > THIN * source[0] * source[1]


def columns_first(source: Size, way: Presize, whole: tuple[int, ...]) -> bool:
    """Whether Pillow resizes the columns before the rows, as from 13 on it sometimes does."""
    if way.resize is Resize.pad:
        box = resize_box(source, way.size, way.resize)
        source = (box.height, box.width)
    down, across = (source[side] - whole[side] for side in (0, 1))
    return PILLOW >= (13, 0) and down > max(0, 2 * across)


def test_it_gives_the_bytes_of_python(node: str) -> None:
    chosen = cases()
    rng = np.random.default_rng(1)
    pictures = [noise(rng, *source) for source, _ in chosen]
    results = by_script(node, pictures, [way for _, way in chosen])
    same = 0
    for picture, (source, way), result in zip(pictures, chosen, results, strict=True):
        whole = np.array(fit(Image.fromarray(picture), way))
        apart = int(np.abs(result.astype(int) - cut(whole, way.size)).max())
        assert apart <= columns_first(source, way, whole.shape), (source, way)
        same += apart == 0
    assert same > 0.7 * len(chosen) > 500


def test_a_jpeg_that_python_decodes_smaller_is_averaged(node: str, tmp_path: Path) -> None:
    """Without colour, whose own way libjpeg has, the two differ by a level at most."""
    rng = np.random.default_rng(2)
    whole = Image.fromarray(noise(rng, 40, 30)).resize((601, 803), Image.Resampling.BICUBIC)
    whole.convert("L").save(tmp_path / "grey.jpg", quality=90)
    decoded = np.array(Image.open(tmp_path / "grey.jpg").convert("RGB"))
    for side in (300, 200, 100, 60):
        for resize in Resize:
            way = Presize((side, side), resize)
            (result,) = by_script(node, [decoded], [way])
            expected = open_presized(tmp_path / "grey.jpg", way)
            assert np.abs(result.astype(int) - expected).max() <= 2, (side, resize)
