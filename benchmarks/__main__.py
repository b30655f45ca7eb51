"""``python -m benchmarks [part ...]``: measure and print.

Without parts it measures all, and writes ``benchmarks/RESULTS.md`` and README's table.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks import fastai_side
from benchmarks.apart import Apart
from benchmarks.augmentation import augmentation
from benchmarks.fastai_side import FastaiSide
from benchmarks.machine import CORES, CUDA, machine
from benchmarks.our_side import PRECISION, BareModel, OurSide, quiet
from benchmarks.paired import Other, Pair, in_turn
from benchmarks.pictures import TRAIN, VALID, pictures
from benchmarks.results import keep, write
from benchmarks.sweep import decodes
from benchmarks.whole_commands import commands
from paddy_lightning.data.cache import Cache
from paddy_lightning.data.presize import Presize, open_presized

RUN_EPOCHS = 2
TTA_PICTURES = 64


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
        other = Other(f"open and presize, squish {side}, a core", partial(theirs, side), target)
        yield from in_turn(partial(ours, side), [other], 8, len(files))
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder), root, Presize((480, 480)), 1e10)
        cache.fill(files, CORES)
        kept = cache.open(files)
        assert kept is not None

        def from_cache() -> None:
            for row in range(len(files)):
                torch.from_numpy(kept.read(row))

        other = Other("squish 480 from the cache, a core", partial(theirs, 480), 8.0)
        yield from in_turn(from_cache, [other], 8, len(files))


def epochs() -> Iterator[Pair]:
    """Whole epochs over files, none of them cached: squish 480 to 128, two archs."""
    for arch, train, validate, tta in (
        ("tf_efficientnet_lite0", 2.4, 4.0, 5.0),
        ("resnet26d", 2.1, 2.5, 3.0),
    ):
        setting, over = (pictures(), arch, (480, 480), (128, 128)), f"{arch}, squish 480 to 128"
        with ExitStack() as running:
            start = partial(_start, running, *setting)
            ours, theirs = start(kind=OurSide), start(kind=FastaiSide, num_workers=CORES)
            last = start(kind=FastaiSide, num_workers=CORES, channels_last=True)
            alone = start(kind=FastaiSide, num_workers=0)
            both = start(kind=FastaiSide, num_workers=0, channels_last=True)
            with_0 = f"{over} (fastai with num_workers=0)"
            trains = {
                over: (theirs, train),
                with_0: (alone, None),
                f"{over} (fastai with channels_last)": (last, 1.0),
                f"{over} (fastai with channels_last and num_workers=0)": (both, 1.0),
            }
            validates = {over: (theirs, validate), with_0: (alone, None)}
            for what, method, ways, images in (
                ("training epoch", "train", trains, TRAIN),
                ("validation", "validate", validates, VALID),
            ):
                others = [
                    Other(f"{what}, {name}", other.timed(method), target)
                    for name, (other, target) in ways.items()
                ]
                yield from in_turn(ours.timed(method), others, 3, images)
            way = Other(f"TTA of 4 and 1, {over}", theirs.timed("tta", TTA_PICTURES), tta)
            yield from in_turn(ours.timed("tta", TTA_PICTURES), [way], 2, TTA_PICTURES)
            if arch == "resnet26d":
                load = Other("the loader alone, squish 480", theirs.timed("load"))
                yield from in_turn(ours.timed("load"), [load], 3, TRAIN)


def _start(running: ExitStack, *setting: Any, kind: type, **named: Any) -> Apart:
    return running.enter_context(Apart(kind, *setting, **named))


def overhead() -> Iterator[Pair]:
    """Pictures are cached, and the other side is the bare network on tensors: what the rest costs.

    Of the steps alone, with loading and augmentation; and of a run from the command to its end.
    """
    settings = [("resnet26d", (480, 480), (128, 128), 1.10)]
    if CUDA:
        settings = [
            ("resnet26d", (480, 480), (128, 128), 1.05),
            ("convnext_small", (480, 360), (256, 192), 1.05),
        ]
    for arch, presize, size, target in settings:
        with (
            tempfile.TemporaryDirectory() as folder,
            Apart(OurSide, pictures(), arch, presize, size, cache=folder) as ours,
            Apart(BareModel, arch, size) as bare,
        ):
            batches = TRAIN // 64, VALID // 64
            over = f"{arch} {size[0]}x{size[1]}, against the bare model"
            steps = Other(
                f"training steps with loading and augmentation, {over}",
                bare.timed("train", batches[0]),
                target,
                at_most=True,
            )
            yield from in_turn(ours.timed("train"), [steps], 3, TRAIN)
            run = Other(
                f"a run of {RUN_EPOCHS} epochs with validation, logs, checkpoints and its last look"
                f" inside, {over}",
                bare.timed("run", RUN_EPOCHS, *batches),
                1.5,
                at_most=True,
            )
            yield from in_turn(ours.timed("run", RUN_EPOCHS), [run], 2, RUN_EPOCHS * TRAIN)


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


PARTS = {
    part.__name__: part for part in (augmentation, presizing, epochs, overhead, commands, other)
}


@quiet()
def main(names: list[str]) -> None:
    """Run the named parts, or all and then write the results."""
    start = time.perf_counter()
    rows: list[dict[str, str]] = []
    notes: list[str] = []
    for name in names or PARTS:
        for found in PARTS[name]():
            keep(found, rows, notes)
    if names:
        return
    minutes = (time.perf_counter() - start) / 60
    write(pd.DataFrame(rows), notes, machine([PRECISION]), minutes)


if __name__ == "__main__":
    main(sys.argv[1:])
