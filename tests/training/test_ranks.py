"""Several devices, as two processes on the CPU."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import PADDY, ROOT
from forks import true_starts
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from paddy_lightning.atomic import write_json
from paddy_lightning.cli.launch import free_port, needs_ranks, rank_environment, tell_failure
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.workers import num_cores
from paddy_lightning.errors import TakenError, UserError
from paddy_lightning.ranks import refuse_torchrun
from paddy_lightning.runs.run_folder import locked, save_config, whole_config
from paddy_lightning.runs.summary import read_summary
from paddy_lightning.runs.trainer import lightning_trainer
from paddy_lightning.runs.valid_right import read_right
from paddy_lightning.training.check import num_devices

Script = Callable[..., "subprocess.CompletedProcess[str]"]
TWO = ("trainer.devices=2", "trainer.accelerator=cpu")
OTHERS = {  # as in a job of Slurm that one process of torchrun has started
    **{"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_NAME": "job"},
    **{"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7", "SLURM_NODEID": "0"},
    **{"RANK": "0", "GROUP_RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
    **{"WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"},
}


def words(data: Path) -> list[str]:
    return [
        *(f"data.root={data}", "arch=resnet10t", "weights=none", "presize=48x40", "size=40x32"),
        *("epochs=3", "batch_size=16", "num_workers=0", "lr=1e-2"),
    ]


def start(*words: str, cwd: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*PADDY, "train", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_ranks_share_the_pictures_and_end_with_the_same_weights(
    stripes: Path, tmp_path: Path
) -> None:
    shared = {"PADDY_DEVICES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(ROOT / "tests" / "two_ranks.py")]
    ranks = [
        subprocess.Popen(
            [*script, str(stripes / "train_images"), str(tmp_path)],
            env=os.environ | shared | {"LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    first, second = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)
    )
    for name, tensor in first["state"].items():
        assert torch.equal(tensor, second["state"][name]), name
    assert first["error_rate"] == second["error_rate"]
    seeds = [*first["seeds"], *second["seeds"]]  # of dropout, at every step
    assert len(seeds) == len(set(seeds)) == 18
    for one, other in zip(first["seen"], second["seen"], strict=True):
        assert len(one) == len(other) == 24  # of 48 pictures, in steps of 16
        assert len({*one, *other}) == 48
    frozen, unfrozen, later = first["bodies"]
    assert torch.equal(frozen, unfrozen) and not torch.equal(unfrozen, later)


@pytest.fixture(scope="module")
def two(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two devices that nobody disturbed."""
    run = tmp_path_factory.mktemp("ranks") / "two"
    with true_starts():
        job = start(*words(stripes), *TWO, f"hydra.run.dir={run}", cwd=run.parent)
    out, err = job.communicate(timeout=300)
    assert job.returncode == 0 and "strides" not in err, err
    assert sum(line.startswith("epoch ") for line in out.splitlines()) == 4
    return run


def test_several_devices_from_the_command_line(
    run_script: Script, stripes: Path, two: Path, tmp_path: Path
) -> None:
    """One run folder, complete predictions in order, and as much learned as by one device."""
    assert run_script("train", *words(stripes), "hydra.run.dir=one").returncode == 0
    assert [path.name for path in two.parent.iterdir()] == ["two"]
    ours, theirs = (pd.read_csv(f / "valid_predictions.csv") for f in (two, tmp_path / "one"))
    assert ours["file"].tolist() == theirs["file"].tolist()
    summary = json.loads((two / "summary.json").read_text())
    assert summary["status"] == "done"
    assert summary["command"].startswith("python ") and "'" not in summary["command"]
    ours, theirs = (pd.read_csv(f / "metrics.csv") for f in (two, tmp_path / "one"))
    learned, alone = (float(rows["train_loss"].iloc[-1]) for rows in (ours, theirs))
    assert learned < 1.3 * alone < math.log(3)
    epochs = ours.set_index("epoch")
    best = epochs.loc[summary["best_epoch"]]
    assert abs(best["valid_loss"] - summary["valid_loss"]) < 1e-4  # of all pictures, each once
    for epoch, right in read_right(two).items():
        assert 1 - right.mean() == pytest.approx(epochs.loc[epoch, "error_rate"], abs=1e-6)
    result = run_script("train", f"resume={two}")
    assert result.returncode == 1 and "is done" in result.stderr


def test_a_stopped_run_goes_on_with_as_many_devices_or_fewer(
    run_script: Script, stripes: Path, two: Path, tmp_path: Path
) -> None:
    """With as many: bit for bit, also where Slurm and torchrun number their processes."""
    run = tmp_path / "run"
    job = start(*words(stripes), *TWO, f"hydra.run.dir={run}", cwd=tmp_path)
    while job.poll() is None and not (run / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does
    out, err = job.communicate(timeout=300)
    assert job.returncode == 130 and f"paddy train resume={run}" in out, err
    one = Path(shutil.copytree(run, tmp_path / "one"))
    result = run_script("train", f"resume={run}", **OTHERS)
    assert result.returncode == 0, result.stderr
    first, second = (
        torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for folder in (run, two)
    )
    assert all(torch.equal(first[name], second[name]) for name in second)
    result = run_script("train", f"resume={one}", "trainer.devices=1")
    assert result.returncode == 0, result.stderr
    assert pd.read_csv(one / "metrics.csv")["epoch"].tolist() == [1, 2, 3, 4]


def test_the_number_of_devices_of_a_resumed_run_is_what_is_told_last(tmp_path: Path) -> None:
    save_config(tmp_path, TrainConfig(trainer={"devices": 2, "accelerator": "cpu"}))
    told = [TrainConfig(resume=str(tmp_path), trainer={"devices": n}) for n in (1, 2, 4)]
    assert [needs_ranks(whole_config(config)) for config in told] == [False, True, True]
    assert num_devices(whole_config(TrainConfig(resume=str(tmp_path)))) == 2


def test_processes_are_counted_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as Slurm or torchrun do, whose numbers are of other processes."""
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    trainer = lightning_trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    environment = trainer._accelerator_connector.cluster_environment
    assert isinstance(environment, LightningEnvironment)
    told = rank_environment(2)
    assert told["WORLD_SIZE"] == "2" and not any("ELASTIC" in name for name in told)
    assert told["OMP_NUM_THREADS"] == str(max(1, num_cores() // 2))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert rank_environment(2)["OMP_NUM_THREADS"] == "7"


def test_several_equal_trainings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    refuse_torchrun()
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match=r"run it as python train\.py trainer\.devices=3"):
        refuse_torchrun()


def test_the_summary_of_another_process_is_left_alone(tmp_path: Path) -> None:
    """Where ranks failed because another run has the folder."""
    write_json(tmp_path / "summary.json", {"status": "running"})
    with locked(tmp_path), pytest.raises(TakenError):
        tell_failure(tmp_path, "rank 0 failed")
    assert read_summary(tmp_path) == {"status": "running"}
    tell_failure(tmp_path, "rank 1 failed")
    assert read_summary(tmp_path) == {"status": "failed", "reason": "rank 1 failed"}


def test_the_library_does_not_import_the_command_line() -> None:
    code = (
        "import sys, paddy_lightning.training.train\n"
        "print(any(name.startswith('paddy_lightning.cli') for name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "False\n", told.stderr


def test_a_failing_rank_ends_the_others(run_script: Script, stripes: Path, tmp_path: Path) -> None:
    words = [f"data.root={stripes}", "arch=resnet10t", "weights=none", "size=40x32", "lr=find"]
    result = run_script("train", *words, "trainer.devices=2", "trainer.accelerator=cpu")
    assert result.returncode == 1 and "lr=find: goes with one device" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
