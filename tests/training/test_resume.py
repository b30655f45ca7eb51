"""Runs that are killed and gone on with equal those that were left in peace, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from conftest import PADDY
from small import copied_unseen

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.training.checkpoints import Checkpoints
from paddy_lightning.training.train import resume, train

Script = Callable[..., "subprocess.CompletedProcess[str]"]
EPOCHS = 4
TIMES = ["seconds", "images_per_second"]  # the only columns that may differ


def words(stripes: Path, unseen: Path, run_dir: Path, workers: int) -> list[str]:
    return [
        *("data=paddy", f"data.root={stripes}", "arch=efficientnet_lite0", "weights=none"),
        *("presize=48x40", "size=40x32", f"epochs={EPOCHS - 1}", "batch_size=16", "lr=1e-2"),
        *(f"num_workers={workers}", "resize=crop", f"test={unseen}"),
        f"hydra.run.dir={run_dir}",
    ]


def start(words: list[str], cwd: Path) -> "subprocess.Popen[bytes]":
    command = [*PADDY, "train", *words]
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
    valid = ("valid_predictions.csv", "valid_right.csv")
    for table in ("metrics.csv", *valid, "pictures.csv", "test_predictions.csv"):
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
def unseen(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the last look."""
    return copied_unseen(stripes, tmp_path_factory.mktemp("unseen"))


@pytest.fixture(scope="module")
def undisturbed(
    stripes: Path, unseen: Path, workers: int, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(words(stripes, unseen, folder / "run", workers), folder).wait() == 0
    return folder / "run"


def test_killed_in_every_epoch(
    stripes: Path, unseen: Path, workers: int, undisturbed: Path, tmp_path: Path
) -> None:
    """One run, killed once while each of its epochs goes on."""
    run = tmp_path / "run"
    told = words(stripes, unseen, run, workers)
    for epoch in range(EPOCHS):
        kill_when(start(told, tmp_path), partial(is_past, run, epoch))
        assert epochs_done(run) == epoch + 1
        told = [f"resume={run}"]
    assert start(told, tmp_path).wait() == 0
    assert_equal_runs(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment(
    stripes: Path, unseen: Path, workers: int, undisturbed: Path, tmp_path: Path, seed: int
) -> None:
    run = tmp_path / "run"
    moment = time.monotonic() + random.Random(seed).uniform(3, 12)
    kill_when(
        start(words(stripes, unseen, run, workers), tmp_path), lambda: time.monotonic() > moment
    )
    again = (
        [f"resume={run}"]
        if (run / "config.yaml").exists()
        else words(stripes, unseen, run, workers)
    )
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
        ([f"resume={undisturbed}", "data=folder"], "data=folder: a resumed run keeps its own"),
        ([f"resume={undisturbed}", "data.root=a=b", "trainer.devices=1"], "is done; there is"),
        ([f"resume={undisturbed}", "trainer.devices=none"], "trainer.devices=none: give"),
    ):
        result = run_script("train", *told)
        assert result.returncode == 1 and answer in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert not list(tmp_path.iterdir())


def small(root: str | None) -> TrainConfig:
    return TrainConfig(
        DataConfig(Source.auto, root), arch="mobilenetv3_small_050", weights="none",
        presize=(48, 40), size=(40, 32), epochs=2, freeze_epochs=0, lr=1e-2, batch_size=16,
        num_workers=0, cache="off",
    )  # fmt: skip


def stop_after_an_epoch(config: TrainConfig, run_dir: Path) -> Path:
    """Train here, and stop as Ctrl-C does."""
    save = Checkpoints.on_train_epoch_end

    def save_and_stop(self: Checkpoints, *told: Any) -> None:
        save(self, *told)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Checkpoints, "on_train_epoch_end", save_and_stop)
        train(config, run_dir)
    return run_dir


@pytest.fixture(scope="module")
def whole(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    train(small(str(stripes)), run)
    return run


@pytest.fixture(scope="module")
def stopped_once(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stop_after_an_epoch(small(str(stripes)), tmp_path_factory.mktemp("stopped") / "run")


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A run that was stopped after the first of two epochs, and moved."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def change(run: Path, **knobs: Any) -> None:
    """As if its ``config.yaml`` had said so."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | knobs))


def read(run: Path, file: str) -> Any:
    return yaml.safe_load((run / file).read_text())


def assert_equal_weights(run: Path, other: Path) -> None:
    first, second = (
        torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for folder in (run, other)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_from_another_folder_though_other_data_arrived(
    stripes: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With relative places, and a data set found by itself."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stripes, "data/second")
    run = stop_after_an_epoch(small(None), Path("run"))
    first = Path(shutil.copytree(stripes, "data/first"))
    for picture in (first / "train_images" / "down").iterdir():
        shutil.copy(first / "train_images" / "across" / "across00.jpg", picture)
    moved = run.rename(tmp_path / "moved")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    resume(moved)
    assert_equal_weights(moved, whole)
    found = {"source": "paddy", "root": str(tmp_path / "data" / "second"), "csv": None}
    assert read(moved, "config.yaml")["data"] == found


def test_pictures_that_were_moved(stripes: Path, stopped: Path, tmp_path: Path) -> None:
    change(stopped, data={"source": "folder", "root": "/was/here", "csv": None})
    told = r"run: its pictures are not there \(/was/here.*data\.root="
    with pytest.raises(UserError, match=told):
        resume(stopped)
    now = Path(shutil.copytree(stripes / "train_images", tmp_path / "now"))
    lost = now / "down" / "down07.jpg"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(UserError, match=r"1 of its pictures are lost .*down07\.jpg"):
        resume(stopped, data_root=now)
    assert read(stopped, "config.yaml")["data"]["root"] == "/was/here"
    lost.write_bytes(content)
    assert resume(stopped, data_root=now)["status"] == "done"
    assert read(stopped, "config.yaml")["data"]["root"] == str(now)


def test_a_run_of_an_earlier_version_and_of_several_devices(
    stopped: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One's config has the data as typed, the others' optimizer lies otherwise in memory."""
    change(stopped, data={"source": "auto", "root": None, "csv": None})
    last = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)
    for state in last["optimizer_states"][0]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].ndim == 4:
                state[name] = state[name].contiguous(memory_format=torch.channels_last)
    torch.save(last, stopped / "checkpoints" / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", f"resume={stopped}"])
    first = read(stopped, "summary.json")["command"]
    summary = resume(stopped)
    assert_equal_weights(stopped, whole)
    assert summary["command"] == first
    assert summary["resumed"] == [f"python train.py resume={stopped}"]


def test_files_that_are_damaged_or_gone(stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Weights to start from are not missed: they are in the checkpoint."""
    change(stopped, weights="/was/here.pt")
    last = stopped / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"rubbish"):
        last.write_bytes(damaged)
        with pytest.raises(UserError, match=r"last\.ckpt: is damaged; without it, resume= begins"):
            resume(stopped)
    last.write_bytes(content)
    (stopped / "checkpoints" / "best.ckpt").unlink()
    assert resume(stopped)["kept_epoch"] == 2 and "best.ckpt: is gone" in caplog.text
