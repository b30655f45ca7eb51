"""Drawn pictures of the competition's shape, 640 high and 480 wide, as JPEG files."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from paddy_lightning.data.leaves import CLASS_NAMES, draw_leaf

PLACE = Path("benchmarks/.pictures")
TRAIN, VALID = 256, 128


def pictures() -> Path:
    """A folder with the trees ``train`` and ``valid``, one folder a class; drawn if need be."""
    folder = PLACE / "drawn"
    jobs = [
        (
            folder / part / (label := CLASS_NAMES[number % len(CLASS_NAMES)]) / f"{number:03}.jpg",
            label,
            seed,
        )
        for part, count, seed_from in (("train", TRAIN, 0), ("valid", VALID, TRAIN))
        for number, seed in enumerate(range(seed_from, seed_from + count))
    ]
    if missing := [job for job in jobs if not job[0].exists()]:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_draw, missing))
    return folder


def many(train: int, valid: int) -> Path:
    """Likewise, with so many: hard links to those, since drawing takes longer than reading."""
    folder, few = PLACE / f"many_{train}_{valid}", pictures()
    for part, count in (("train", train), ("valid", valid)):
        drawn = sorted((few / part).glob("*/*.jpg"))
        for number in range(count):
            file = drawn[number % len(drawn)]
            link = folder / part / file.parent.name / f"{number:06}.jpg"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.link(file, link)
    return folder


def _draw(job: tuple[Path, str, int]) -> None:
    path, label, seed = job
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_leaf(label, seed).save(path, quality=88)
