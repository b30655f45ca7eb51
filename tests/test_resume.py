"""Runs that are killed and gone on with equal those that were left in peace, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT

from paddy_lightning.checkpoints import Checkpoints
from paddy_lightning.config import DataConfig, Source, TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.training import resume, train

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
    for table in ("metrics.csv", "valid_predictions.csv", "valid_right.csv", "pictures.csv"):
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


def small(root: str, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        **{"arch": "mobilenetv3_small_050", "weights": "none", "presize": (48, 40)},
        **{"size": (40, 32), "epochs": 2, "freeze_epochs": 0, "batch_size": 16, "cache": "off"},
    }
    return TrainConfig(DataConfig(Source.auto, root), num_workers=0, lr=1e-2, **(values | changes))


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Train here, and stop after the first epoch as Ctrl-C does."""

    def train_and_stop(config: TrainConfig, run_dir: Path) -> Path:
        save = Checkpoints.on_train_epoch_end

        def save_and_stop(self: Checkpoints, *told: Any) -> None:
            save(self, *told)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Checkpoints, "on_train_epoch_end", save_and_stop)
            train(config, run_dir)
        return run_dir

    return train_and_stop


def weights(run: Path) -> dict[str, torch.Tensor]:
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    return dict(best["state_dict"])


def assert_equal_weights(run: Path, other: Path) -> None:
    first, second = weights(run), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_from_another_folder_though_other_data_arrived(
    stripes: Path, stopped: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With relative places, and a data set found by itself."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copytree(stripes, "data/second")
    run = stopped(small(None), Path("run").absolute())  # type: ignore[arg-type]
    train(small(None), "undisturbed")  # type: ignore[arg-type]
    first = Path(shutil.copytree(stripes, "data/first"))
    for picture in (first / "train_images" / "down").iterdir():
        shutil.copy(first / "train_images" / "across" / "across00.jpg", picture)
    moved = run.rename(tmp_path / "moved")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    resume(moved)
    assert_equal_weights(moved, tmp_path / "undisturbed")
    config = yaml.safe_load((moved / "config.yaml").read_text())
    assert config["data"]["root"] == str(tmp_path / "data" / "second")
    assert config["data"]["source"] == "paddy"


def test_pictures_that_were_moved(
    stripes: Path, stopped: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = Path(shutil.copytree(stripes / "train_images", tmp_path / "pictures"))
    run = stopped(small(str(pictures)), tmp_path / "run")
    now = pictures.rename(tmp_path / "now")
    with pytest.raises(UserError, match=r"run: its pictures are not there .*pictures.*data\.root="):
        resume(run)
    lost = now / "down" / "down07.jpg"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(UserError, match=r"1 of its pictures are lost .*down07\.jpg"):
        resume(run, data_root=now)
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["root"] == str(pictures)
    lost.write_bytes(content)
    summary = resume(run, data_root=now)
    assert summary["status"] == "done" and len(summary["resumed"]) == 1
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["root"] == str(now)


def test_the_first_command_stays(
    run_script: Script, stripes: Path, stopped: Callable[..., Path], tmp_path: Path
) -> None:
    run = stopped(small(str(stripes)), tmp_path / "run")
    first = json.loads((run / "summary.json").read_text())["command"]
    assert run_script("train.py", f"resume={run}", "num_workers=0").returncode == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["command"] == first
    (again,) = summary["resumed"]
    assert again.endswith(f"train.py resume={run} num_workers=0")


def test_a_run_of_an_earlier_version_and_of_several_devices(
    stripes: Path, stopped: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config has the data as it was typed."""
    run = stopped(small(str(stripes)), tmp_path / "run")
    train(small(str(stripes)), tmp_path / "undisturbed")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] = {"source": "auto", "root": None, "csv": None}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    for state in last["optimizer_states"][0]["state"].values():  # as several devices leave it
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].ndim == 4:
                state[name] = state[name].contiguous(memory_format=torch.channels_last)
    torch.save(last, run / "checkpoints" / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    resume(run)
    assert_equal_weights(run, tmp_path / "undisturbed")


def test_checkpoints_that_are_damaged_or_gone(
    stripes: Path, stopped: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = stopped(small(str(stripes)), tmp_path / "run")
    last = run / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"rubbish"):
        last.write_bytes(damaged)
        with pytest.raises(UserError, match=r"last\.ckpt: is damaged; without it, resume= begins"):
            resume(run)
    last.write_bytes(content)
    (run / "checkpoints" / "best.ckpt").unlink()
    assert resume(run)["best_epoch"] == 2 and "best.ckpt: is gone" in caplog.text


def test_weights_that_are_gone_are_not_missed(
    stripes: Path, stopped: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the checkpoint."""
    start = stopped(small(str(stripes)), tmp_path / "start")
    monkeypatch.chdir(tmp_path)
    run = stopped(small(str(stripes), start="start"), tmp_path / "run")
    shutil.rmtree(start)
    assert resume(run)["status"] == "done"
