"""``python -m benchmarks.gpu``: what only a GPU can tell -> ``benchmarks/RESULTS_GPU.md``.

The page is written after every part, so that a machine that is taken away leaves what was measured.
"""

import gc
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks.augmentation import augmentation as augmented
from benchmarks.machine import CORES, CUDA, has_fastai, machine
from benchmarks.our_side import BareModel, OurSide, quiet
from benchmarks.paired import Other, Pair, alone, in_turn
from benchmarks.pictures import many
from benchmarks.results import keep, write_page

PAGE = Path("benchmarks/RESULTS_GPU.md")
ENOUGH = 300.0  # seconds, after which no other part begins
Size = tuple[int, int]
Found = Iterator[Pair | str]


@dataclass(frozen=True)
class Scale:
    """How much of it.

    Attributes:
        cache: Folder for presized pictures; they are ten gigabytes.
        train: Pictures of an epoch; as many as in the competition.
        valid: Pictures that TTA sees.
        rounds: Of each comparison; a third less where fastai decodes every picture.
        settings: ``arch, presize, size``.
        precisions: Of the steps; the first of all else.
    """

    cache: str
    train: int = 8192
    valid: int = 1024
    rounds: int = 3
    settings: tuple[tuple[str, Size, Size], ...] = (
        ("resnet26d", (480, 480), (128, 128)),
        ("convnext_small", (480, 360), (256, 192)),
    )
    precisions: tuple[str, ...] = ("16-mixed", "bf16-mixed")

    def side(self, setting: int, precision: str | None = None, cached: bool = True) -> OurSide:
        """Ours; of the first precision, where none is named."""
        root, cache = many(self.train, self.valid), self.cache if cached else "off"
        precision = precision or self.precisions[0]
        return OurSide(root, *self.settings[setting], cache=cache, precision=precision)


def steps(scale: Scale) -> Found:
    """With loading and augmentation, against the bare model; workers are started before."""
    count = scale.train // 64
    for setting, (arch, _, size) in enumerate(scale.settings):
        for precision in scale.precisions:
            what = f"training steps, {arch} {size[0]}x{size[1]}, {precision}, against the"
            ours = scale.side(setting, precision)
            bare = partial(BareModel(arch, size, precision).train, count)
            last = partial(BareModel(arch, size, precision, weights_last=True).train, count)
            others = [
                Other(f"{what} bare model", bare, 1.05, at_most=True),
                Other(f"{what} bare model, its weights channels_last too", last, at_most=True),
            ]
            yield from in_turn(ours.steps, others, scale.rounds, count * 64)
        yield f"An epoch of {arch} by `profile=true`, {precision}: {ours.shares()}."


def augmentation(scale: Scale) -> Found:
    """Of a batch, on the device."""
    settings = [(presize, size, 1.0) for _, presize, size in scale.settings]
    yield from augmented(settings, 4 * scale.rounds)


def loader(scale: Scale) -> Found:
    """Batches on the device that nobody trains on; workers are started before."""
    height, width = scale.settings[0][1]
    what = f"the loader alone, {height}x{width}"
    kept, cold = scale.side(0), scale.side(0, cached=False)
    yield alone(f"{what}, from the cache", kept.load_again, scale.rounds, scale.train)
    yield alone(f"{what}, from JPEG files", cold.load_again, 1, scale.train)


def memory(scale: Scale) -> Found:
    """The most that the device holds."""
    first = scale.precisions[0]
    for setting, (arch, _, size) in enumerate(scale.settings):
        ours = peak_mb(lambda: scale.side(setting).train())  # noqa: B023
        bare = peak_mb(lambda: BareModel(arch, size, first).train(3))  # noqa: B023
        yield (
            f"Peak memory of the device, {arch} {size[0]}x{size[1]}, {first}: **{ours:.0f} MB**;"
            f" of the bare model {bare:.0f} MB."
        )


def peak_mb(work: Callable[[], object]) -> float:
    """Most memory of the GPU meanwhile; 0 without one."""
    gc.collect()
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def tta(scale: Scale) -> Found:
    """Four views and the plain one, pictures cached."""
    for setting, (arch, _, size) in enumerate(scale.settings):
        way = partial(scale.side(setting).tta, scale.valid)
        what = f"TTA of 4 and 1, {arch} {size[0]}x{size[1]}, {scale.precisions[0]}"
        yield alone(f"{what}, from the cache", way, scale.rounds, scale.valid)


def fastai(scale: Scale) -> Found:
    """Whole epochs, TTA and the loader, workers started anew, against its ``to_fp16``."""
    if not has_fastai():
        yield "fastai is not installed: nothing is measured against it."
        return
    from benchmarks.fastai_side import FastaiSide  # slow to import

    rounds, root = max(1, scale.rounds - 1), many(scale.train, scale.valid)
    for setting, (arch, presize, size) in enumerate(scale.settings):
        theirs = FastaiSide(root, arch, presize, size, CORES)
        last = FastaiSide(root, arch, presize, size, CORES, channels_last=True)
        ours, over = scale.side(setting), f"{arch} {size[0]}x{size[1]}"
        others = [
            Other(f"training epoch, {over} (fastai)", theirs.train, 1.0),
            Other(f"training epoch, {over} (fastai with channels_last)", last.train, 1.0),
        ]
        yield from in_turn(ours.train, others, rounds, scale.train)
        way = Other(f"TTA of 4 and 1, {over} (fastai)", partial(theirs.tta, scale.valid), 1.0)
        yield from in_turn(partial(ours.tta, scale.valid), [way], 1, scale.valid)
    way = Other("the loader alone, from JPEG files (fastai)", theirs.load, 1.0)
    yield from in_turn(scale.side(0, cached=False).load, [way], 1, scale.train)


PARTS: dict[str, Callable[[Scale], Found]] = {
    part.__name__: part for part in (steps, augmentation, loader, memory, tta, fastai)
}


@quiet()
def main(scale: Scale) -> int:
    """Run all parts; the exit code is 1 where one has failed."""
    if not CUDA:
        for name in PARTS:
            print(f"benchmarks.gpu {name}: skipped, there is no CUDA device")
        return 0
    start, failed = time.perf_counter(), 0
    rows: list[dict[str, str]] = []
    notes: list[str] = []
    for name, part in PARTS.items():
        try:
            if time.perf_counter() - start > ENOUGH:
                keep(f"{name}: left out, after {ENOUGH:.0f} seconds.", rows, notes)
                continue
            for found in part(scale):
                keep(found, rows, notes)
        except Exception as error:
            traceback.print_exc()
            keep(f"{name}: failed ({type(error).__name__}).", rows, notes)
            failed = 1
        finally:
            seconds = f"{time.perf_counter() - start:.0f} seconds in all."
            told = f"{machine(scale.precisions)} {seconds}"
            write_page(PAGE, "make gpu", pd.DataFrame(rows), notes, told)
    print(f"all of it is in {PAGE}")
    return failed


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        sys.exit(main(Scale(cache)))
