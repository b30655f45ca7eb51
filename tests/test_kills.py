"""Kills at random moments: what goes on afterwards ends as if nothing had happened.

A short campaign; ``make faults`` has more kills (``PADDY_KILLS``, of each kind).
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from conftest import PADDY

KILLS = range(int(os.environ.get("PADDY_KILLS", "1")))
MEASURED = ["seconds", "images_per_second", "peak_memory_mb"]  # the only columns that may differ
SMALL = [
    *("arch=efficientnet_lite0", "weights=none", "presize=48x40", "size=40x32", "resize=crop"),
    *("epochs=2", "freeze_epochs=1", "batch_size=16", "lr=1e-2"),
]
Command = partial[list[str]]  # of the folder to work in


def start(words: list[str], cwd: Path) -> "subprocess.Popen[bytes]":
    command = [*PADDY, *words]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def seconds_of(words: list[str], cwd: Path) -> float:
    """How long it takes when it is left alone."""
    before = time.monotonic()
    job = start(words, cwd)
    _, told = job.communicate()
    assert job.returncode == 0, told.decode()
    return time.monotonic() - before


def killed(words: list[str], cwd: Path, moment: float) -> None:
    """SIGKILL for a job and all it started, some seconds after its start, unless it is done."""
    job = start(words, cwd)
    try:
        job.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
        with suppress(ChildProcessError):  # what it forked is ours now; unburied, it seems alive
            while os.waitpid(-job.pid, 0):
                pass


def assert_equal_folders(ours: Path, theirs: Path) -> None:
    """The same files; the same tables but for times, the same weights; nothing half written."""

    def names(folder: Path) -> set[Path]:
        found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        return {
            name
            for name in found
            if "tfevents" not in name.name
            and name.suffix != ".log"
            and ".hydra" not in name.parts  # which a resumed job does not write
            and not name.stem.endswith(".1")  # what a second prediction has kept of the first
        }

    assert names(ours) == names(theirs)
    for name in names(theirs):
        if name.suffix == ".csv":
            tables = [pd.read_csv(folder / name) for folder in (ours, theirs)]
            first, second = (table.drop(columns=MEASURED, errors="ignore") for table in tables)
            pd.testing.assert_frame_equal(first, second, obj=str(name))
        if name.suffix == ".ckpt":
            one, other = (
                torch.load(folder / name, weights_only=True)["state_dict"]
                for folder in (ours, theirs)
            )
            assert max(float((one[key] - other[key]).abs().max()) for key in other) == 0


def train(folder: Path, data: str, run: Path) -> list[str]:
    """A new run, or the same one gone on with; its cache is as new."""
    out = folder / "out"
    if (out / "config.yaml").exists():
        return ["train", f"resume={out}"]
    here = [f"hydra.run.dir={out}", f"cache={folder / 'cache'}", "num_workers=1"]
    return ["train", data, *SMALL, *here]


def sweep(folder: Path, data: str, run: Path) -> list[str]:
    """Two runs; the same command goes on with them."""
    here = [f"hydra.sweep.dir={folder / 'out'}", f"cache={folder / 'cache'}"]
    return ["train", "-m", data, *SMALL, "seed=1,2", *here]


def predict(folder: Path, data: str, run: Path) -> list[str]:
    """The test set, with test-time augmentation."""
    return ["predict", f"ckpt={run}", "tta=true", f"output={folder / 'out'}"]


class Undisturbed(NamedTuple):
    """A command that nobody killed: how it is made, where it worked, and how long it took."""

    words: Command
    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def a_run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a_run")
    seconds_of(train(folder, f"data.root={stripes}", folder), folder)
    return folder / "out"


@pytest.fixture(scope="module", params=[train, predict, sweep], ids=lambda kind: kind.__name__)
def undisturbed(
    request: pytest.FixtureRequest,
    stripes: Path,
    a_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Undisturbed:
    words = partial(request.param, data=f"data.root={stripes}", run=a_run)
    folder = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(words, folder, seconds_of(words(folder), folder))


@pytest.mark.parametrize("seed", KILLS)
def test_killed_at_a_random_moment(undisturbed: Undisturbed, tmp_path: Path, seed: int) -> None:
    words, folder, seconds = undisturbed
    moment = random.Random(f"{words.func.__name__} {seed}").uniform(0.2, 1) * seconds
    killed(words(tmp_path), tmp_path, moment)
    summary = tmp_path / "out" / "summary.json"
    if not (summary.exists() and json.loads(summary.read_text())["status"] == "done"):
        seconds_of(words(tmp_path), tmp_path)
    assert_equal_folders(tmp_path / "out", folder / "out")
    assert not list(tmp_path.rglob("*.part"))
