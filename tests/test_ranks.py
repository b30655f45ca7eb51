"""Several devices, as two processes on the CPU."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from conftest import ROOT
from forks import true_starts

from paddy_lightning.ranks import free_port

Script = Callable[..., "subprocess.CompletedProcess[str]"]


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
    for one, other in zip(first["seen"], second["seen"], strict=True):
        assert len(one) == len(other) == 24  # of 48 pictures, in steps of 16
        assert len({*one, *other}) == 48
    frozen, unfrozen, later = first["bodies"]
    assert torch.equal(frozen, unfrozen) and not torch.equal(unfrozen, later)


def test_several_devices_from_the_command_line(
    run_script: Script, stripes: Path, tmp_path: Path
) -> None:
    """One run folder, complete predictions in order, and an error like one device's."""
    words = [f"data.root={stripes}", "arch=resnet10t", "weights=none", "presize=48x40"]
    words += ["size=40x32", "epochs=3", "batch_size=16", "num_workers=0", "lr=1e-2"]
    two = ["trainer.devices=2", "trainer.accelerator=cpu"]
    assert run_script("train.py", *words, "hydra.run.dir=one").returncode == 0
    with true_starts():
        result = run_script("train.py", *words, *two, "hydra.run.dir=two")
    assert result.returncode == 0, result.stderr
    assert sum(line.startswith("epoch ") for line in result.stdout.splitlines()) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
    ours, theirs = (pd.read_csv(tmp_path / n / "valid_predictions.csv") for n in ("two", "one"))
    assert ours["file"].tolist() == theirs["file"].tolist()
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert summary["status"] == "done" and summary["error_rate"] <= 0.75
    epochs = pd.read_csv(tmp_path / "two" / "metrics.csv").set_index("epoch")
    best = epochs.loc[summary["best_epoch"]]
    assert abs(best["valid_loss"] - summary["valid_loss"]) < 1e-4  # of all pictures, each once
    result = run_script("train.py", f"resume={tmp_path / 'two'}")
    assert result.returncode == 1 and "is done" in result.stderr


def test_a_failing_rank_ends_the_others(run_script: Script, stripes: Path) -> None:
    words = [f"data.root={stripes}", "arch=resnet10t", "weights=none", "size=40x32", "lr=find"]
    result = run_script("train.py", *words, "trainer.devices=2", "trainer.accelerator=cpu")
    assert result.returncode == 1 and "lr=find: goes with one device" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
