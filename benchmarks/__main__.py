"""``python -m benchmarks [part ...]``: measure, print, and write ``benchmarks/RESULTS.md``."""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import fastai_side, kornia_side
from benchmarks.fastai_side import FastaiSide
from benchmarks.our_side import BareModel, OurSide
from benchmarks.paired import Pair, in_turn
from benchmarks.pictures import TRAIN, VALID, pictures
from benchmarks.sweep import decodes
from paddy_lightning.augment import Augment
from paddy_lightning.cache import Cache
from paddy_lightning.presize import Presize, open_presized

RESULTS = Path("benchmarks/RESULTS.md")
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
CORES = len(os.sched_getaffinity(0))
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "timm", "kornia", "fastai", "pillow")
STEPS = TRAIN // 64
TTA_PICTURES = 64


def augmentation() -> Iterator[Pair]:
    """A batch of 64 from presized pictures to what the network sees."""
    for presize, size, target in (
        ((480, 480), (128, 128), 7.0),
        ((192, 192), (128, 128), 3.5),
        ((480, 360), (256, 192), 5.0),
    ):
        noise = np.random.default_rng(0).integers(0, 256, (64, *presize, 3), np.uint8)
        images, index = torch.from_numpy(noise).to(DEVICE), torch.arange(64, device=DEVICE)
        ours = partial(Augment(size, kornia_side.MEAN, kornia_side.STD).random, images, index, 0)
        what = f"augmentation of 64, {presize[0]}x{presize[1]} to {size[0]}x{size[1]}"
        theirs = fastai_side.augmentation(images, size)
        yield in_turn(f"{what} (fastai)", theirs, ours, 7, target)
        theirs = kornia_side.augmentation(images, size)
        at_least = 10.0 if presize == (480, 480) else None
        yield in_turn(f"{what} (Kornia in sequence)", theirs, ours, 7, at_least)


def presizing() -> Iterator[Pair]:
    """Files one after the other, in one thread."""
    root = pictures() / "valid"
    files = pd.Series(sorted(p.relative_to(root).as_posix() for p in root.glob("*/*.jpg")))[:48]

    def theirs(side: int) -> None:
        for file in files:
            fastai_side.presize(root / file, (side, side), "squish")

    def ours(side: int) -> None:
        for file in files:
            torch.from_numpy(open_presized(root / file, Presize((side, side))))

    for side, target in ((192, 2.2), (480, 1.15)):
        what = f"open and presize, squish {side}, a core"
        way = partial(theirs, side), partial(ours, side)
        yield in_turn(what, *way, 5, target, images=len(files))
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder), root, Presize((480, 480)), 1e10)
        cache.fill(files, CORES)
        kept = cache.open(files)
        assert kept is not None

        def from_cache() -> None:
            for row in range(len(files)):
                torch.from_numpy(kept.read(row))

        what = "squish 480 from the cache, a core"
        yield in_turn(what, partial(theirs, 480), from_cache, 5, 8.0, images=len(files))


def epochs() -> Iterator[Pair]:
    """Whole epochs over files, none of them cached: squish 480 to 128, two archs."""
    for arch, train, validate, tta in (
        ("tf_efficientnet_lite0", 2.4, 4.0, 5.0),
        ("resnet26d", 2.1, 2.5, 3.0),
    ):
        setting = (pictures(), arch, (480, 480), (128, 128))
        theirs, ours = FastaiSide(*setting, num_workers=CORES), OurSide(*setting)
        over = f"{arch}, squish 480 to 128"
        yield in_turn(f"training epoch, {over}", theirs.train, ours.train, 3, train, images=TRAIN)
        yield in_turn(
            f"validation, {over}", theirs.validate, ours.validate, 3, validate, images=VALID
        )
        if arch == "tf_efficientnet_lite0":
            alone = FastaiSide(*setting, num_workers=0)
            what = f"training epoch, {arch}, fastai with num_workers=0"
            yield in_turn(what, alone.train, ours.train, 3, images=TRAIN)
            what = f"validation, {arch}, fastai with num_workers=0"
            yield in_turn(what, alone.validate, ours.validate, 3, images=VALID)
        ways = partial(theirs.tta, TTA_PICTURES), partial(ours.tta, TTA_PICTURES)
        yield in_turn(f"TTA of 4 and 1, {over}", *ways, 3, tta, images=TTA_PICTURES)
    yield in_turn("the loader alone, squish 480", theirs.load, ours.load, 3, images=TRAIN)


def overhead() -> Iterator[Pair]:
    """An epoch with everything, pictures cached, against the bare steps on tensors."""
    settings = [("resnet26d", (480, 480), (128, 128), 1.10)]
    if CUDA:
        settings = [
            ("resnet26d", (480, 480), (128, 128), 1.05),
            ("convnext_small", (480, 360), (256, 192), 1.05),
        ]
    for arch, presize, size, target in settings:
        with tempfile.TemporaryDirectory() as folder:
            ours = OurSide(pictures(), arch, presize, size, cache=folder)
            bare = partial(BareModel(arch, size).train, STEPS)
            what = f"training steps, {arch} {size[0]}x{size[1]}, all of it against the bare model"
            yield in_turn(what, bare, ours.train, 3, target, at_most=True, images=TRAIN)


def other() -> Iterator[str]:
    """Memory and decodes: what is counted and not timed."""

    def memory(*words: str) -> list[float]:
        command = [sys.executable, "-m", "benchmarks.memory", *words]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [float(word) for word in told.splitlines()[-1].split()]

    few, many = memory("listed", "1000")[0], memory("listed", "100000")[0]
    yield (
        f"Memory with 100,000 listed files over 1,000 (with two workers): {many:.0f} - {few:.0f} ="
        f" **{many - few:+.0f} MB** (aim: at most +150)."
    )
    each = memory("epochs", "8")
    yield f"Memory after each of 8 epochs, MB: {', '.join(f'{mb:.0f}' for mb in each)} (aim: flat)."
    files, least, most = decodes()
    yield (
        f"Decodes of each of {files} files in a sweep of four jobs (2 archs, 2 sizes): {least} to"
        f" **{most}** (aim: 1 in all)."
    )


def machine() -> str:
    """What it was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = torch.cuda.get_device_name() if CUDA else (names or [platform.machine()])[0]
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{date.today()}, {CORES} cores, {name}, {'16-mixed' if CUDA else 'float32'};"
        f" Python {platform.python_version()}, {packages}."
    )


PARTS = {part.__name__: part for part in (augmentation, presizing, epochs, overhead, other)}


def main(names: list[str]) -> None:
    """Run the named parts, or all and then write the results."""
    start = time.perf_counter()
    rows, notes = [], []
    for name in names or PARTS:
        for found in PARTS[name]():
            if isinstance(found, Pair):
                rows.append(found.row())
                print(*rows[-1].values(), sep="  |  ", flush=True)
            else:
                notes.append(found)
                print(found, flush=True)
    if names:
        return
    minutes = (time.perf_counter() - start) / 60
    table = pd.DataFrame(rows).to_markdown(index=False)
    told = [
        "# Measured",
        "Made by `make bench`. Both sides run in turn in one process on the same files; the ratio"
        " is other / this (this / other where it says at most), the median of the rounds and its"
        " spread. Pictures are drawn, 640x480 JPEG files.",
        f"{machine()} {minutes:.0f} minutes in all.",
        table,
        *notes,
    ]
    RESULTS.write_text("\n\n".join(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
