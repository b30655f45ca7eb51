"""Whole commands, from Enter to the end, each beside the script of a user of fastai."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.paired import Other, Pair, in_turn
from benchmarks.pictures import many
from paddy_lightning import memory

ROUNDS = 5
SEEDS = ("1", "2", "3", "4")
PHOTOS: Mapping[str, Any] = {
    "arch": "tf_efficientnet_lite0",
    "presize": 480,
    "size": 128,
    "epochs": 2,
    "batch_size": 64,
}
# What paddy does by itself, as a user of fastai can do it: see paddy_lightning/memory.py.
KEPT = {
    "MALLOC_MMAP_MAX_": str(memory.KEEP[memory.MMAP_MAX]),
    "MALLOC_TRIM_THRESHOLD_": str(memory.KEEP[memory.TRIM_THRESHOLD]),
}
SMALL = {**PHOTOS, "arch": "resnet10t", "presize": 128, "size": 64, "epochs": 1}


class Ours:
    """Commands of ``paddy``, each a process of its own.

    Args:
        root: Pictures, in the trees ``train`` and ``valid``.
        place: A folder for runs and caches.
        settings: As ``PHOTOS``.
    """

    def __init__(self, root: Path, place: Path, settings: Mapping[str, Any]) -> None:
        self.root, self.run, self.cache = root.absolute(), place / "run", place / "cache"
        own = {"data.root": self.root, "weights": "none", "cache": self.cache}
        self.knobs = [f"{name}={value}" for name, value in {**own, **settings}.items()]

    def train(self, cold: bool, *more: str) -> None:
        """A run; with ``cold``, without any presized pictures from before."""
        shutil.rmtree(self.run, ignore_errors=True)
        if cold:
            shutil.rmtree(self.cache, ignore_errors=True)
        where = more or [f"hydra.run.dir={self.run}"]
        _run("paddy_lightning", "train", *where, "data=folder", *self.knobs)

    def sweep(self) -> None:
        """A run a seed, in one command."""
        self.train(False, "-m", f"seed={','.join(SEEDS)}", f"hydra.sweep.dir={self.run}")

    def in_one_process(self) -> None:
        """The same four, without a process for each."""
        shutil.rmtree(self.run, ignore_errors=True)
        _run("benchmarks.four_runs", self.run, ",".join(SEEDS), *self.knobs)

    def predict(self, images: Path, network: str = "") -> None:
        """By the run that was trained last, or by a file in it."""
        ckpt = self.run / network
        _run("paddy_lightning", "predict", f"ckpt={ckpt}", f"images={images.absolute()}")

    def export(self) -> str:
        """The file that it writes, in the run."""
        _run("paddy_lightning", "export", f"run={self.run}")
        return "export/model.onnx"


def commands() -> Iterator[Pair]:
    """Train on 400 pictures, cold and warm; predict one and 1,000; a sweep of four."""
    root, folder = many(320, 80), many(1000, 1) / "train"
    one = next(folder.glob("*/*.jpg"))
    with tempfile.TemporaryDirectory() as place:
        ours, told = Ours(root, Path(place), PHOTOS), (root, Path(place, "fastai"))
        fine_tune = partial(_fastai, "train", *told, json.dumps(PHOTOS), "0")
        what = "paddy train, 3 epochs on 400 pictures, tf_efficientnet_lite0, squish 480 to 128"
        for state, cold, target in (("cold", True, 2.5), ("warm", False, 3.2)):
            others = [Other(f"{what}, {state} cache (fastai's script)", fine_tune, target)]
            if not cold:
                kept = f"{what}, {state} cache (fastai's script, and its memory kept)"
                others.append(Other(kept, partial(fine_tune, **KEPT)))
            yield from in_turn(partial(ours.train, cold), others, ROUNDS)
        exported = ours.export()
        for name, images, network, least in (
            ("one picture", one, "", 2.0),
            ("one picture by its export", one, exported, None),
            ("1,000 pictures", folder, "", None),
        ):
            theirs = partial(_fastai, "predict", *told, json.dumps(PHOTOS), images)
            other = Other(f"paddy predict, {name} (fastai's script)", theirs, least)
            yield from in_turn(partial(ours.predict, images, network), [other], ROUNDS)
        small = Ours(root, Path(place, "small"), SMALL)
        loop = partial(_fastai, "train", *told, json.dumps(SMALL), *SEEDS)
        what = "paddy train -m, four small jobs"
        others = [
            Other(f"{what} (fastai's script, in one process)", loop),
            Other(f"{what} (ours, in one process)", small.in_one_process),
        ]
        yield from in_turn(small.sweep, others, ROUNDS)


def _fastai(*words: object, **variables: str) -> None:
    _run("benchmarks.fastai_script", *words, **variables)


def _run(module: str, *words: object, **variables: str) -> None:
    """A process, from its start to its end; what it says is told where it fails."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
