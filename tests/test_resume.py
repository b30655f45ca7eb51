"""Runs that are killed and gone on with equal those that were left in peace, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT

Script = Callable[..., "subprocess.CompletedProcess[str]"]
EPOCHS = 4
TIMES = ["seconds", "images_per_second"]  # the only columns that may differ


def words(stripes: Path, run_dir: Path, workers: int) -> list[str]:
    return [
        *("data=paddy", f"data.root={stripes}", "arch=efficientnet_lite0", "weights=none"),
        *("presize=48x40", "size=40x32", f"epochs={EPOCHS - 1}", "batch_size=16", "lr=1e-2"),
        *(f"num_workers={workers}", "resize=crop", f"hydra.run.dir={run_dir}"),
    ]


def start(words: list[str], cwd: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(ROOT / "train.py"), *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, start_new_session=True)


def epochs_done(run_dir: Path) -> int:
    try:
        return len(pd.read_csv(run_dir / "metrics.csv"))
    except FileNotFoundError:
        return 0


def is_past(run_dir: Path, epoch: int) -> bool:
    return epochs_done(run_dir) > epoch


def kill_when(job: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
    """SIGKILL for the job and its workers as soon as it is ``ready``, or let it end before."""
    while job.poll() is None and not ready():
        time.sleep(0.005)
    if job.poll() is None:
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def assert_equal_runs(run: Path, undisturbed: Path) -> None:
    first, second = (
        torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for folder in (run, undisturbed)
    )
    assert first.keys() == second.keys()
    assert max(float((first[k] - second[k]).abs().max()) for k in first) == 0
    for table in ("metrics.csv", "valid_predictions.csv", "pictures.csv"):
        ours, theirs = (pd.read_csv(folder / table) for folder in (run, undisturbed))
        pd.testing.assert_frame_equal(
            ours.drop(columns=TIMES, errors="ignore"), theirs.drop(columns=TIMES, errors="ignore")
        )
    names = {path.relative_to(run) for path in run.rglob("*") if "tfevents" not in path.name}
    expected = {p.relative_to(undisturbed) for p in undisturbed.rglob("*")}
    assert names == {name for name in expected if "tfevents" not in name.name}
    assert json.loads((run / "summary.json").read_text())["status"] == "done"


@pytest.fixture(scope="module", params=[0, 2], ids=["0 workers", "2 workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def undisturbed(stripes: Path, workers: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(words(stripes, folder / "run", workers), folder).wait() == 0
    return folder / "run"


def test_killed_in_every_epoch(
    stripes: Path, workers: int, undisturbed: Path, tmp_path: Path
) -> None:
    """One run, killed once while each of its epochs goes on."""
    run = tmp_path / "run"
    told = words(stripes, run, workers)
    for epoch in range(EPOCHS):
        kill_when(start(told, tmp_path), partial(is_past, run, epoch))
        assert epochs_done(run) == epoch + 1
        told = [f"resume={run}"]
    assert start(told, tmp_path).wait() == 0
    assert_equal_runs(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment(
    stripes: Path, workers: int, undisturbed: Path, tmp_path: Path, seed: int
) -> None:
    run = tmp_path / "run"
    moment = time.monotonic() + random.Random(seed).uniform(3, 12)
    kill_when(start(words(stripes, run, workers), tmp_path), lambda: time.monotonic() > moment)
    again = [f"resume={run}"] if (run / "config.yaml").exists() else words(stripes, run, workers)
    if not (run / "summary.json").exists() or "done" not in (run / "summary.json").read_text():
        assert start(again, tmp_path).wait() == 0
    assert_equal_runs(run, undisturbed)


def test_what_cannot_be_resumed(
    run_script: Script, undisturbed: Path, workers: int, tmp_path: Path
) -> None:
    for told, answer in (
        (["resume=missing"], "resume=missing: not a run folder"),
        ([f"resume={undisturbed}"], "is done; there is nothing to go on with"),
        ([f"resume={undisturbed}", "epochs=9"], "epochs=9: a resumed run keeps its own config"),
        ([f"resume={undisturbed}", "-m"], "a resumed run keeps its own config"),
    ):
        result = run_script("train.py", *told)
        assert result.returncode == 1 and answer in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert not list(tmp_path.iterdir())
