"""Sweeps as a user types them: every job a process of its own."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from forks import true_starts
from hypothesis import given
from hypothesis import strategies as st

from paddy_lightning.command_line import SWEPT, job_folder

Script = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = [
    "weights=none",
    "presize=48x40",
    "batch_size=16",
    "num_workers=0",
    "epochs=1",
    "freeze_epochs=0",
]


def answers(folder: Path) -> dict[str, dict[str, object]]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/*.json")}


def test_the_used_by_line(run_script: Script, stripes: Path, tmp_path: Path) -> None:
    """``python train.py -m arch=...,... resize=pad,squish``, then a prediction by one of them."""
    archs = "arch=mobilenetv3_small_050,vit_tiny_patch16_224"
    data = ["data=paddy", f"data.root={stripes}", "size=64", "hydra.sweep.dir=sweep"]
    result = run_script("train.py", "-m", archs, "resize=pad,squish", *data, *SMALL)
    assert result.returncode == 0, result.stderr
    jobs = answers(tmp_path / "sweep")
    assert sorted(jobs) == [
        "0_arch-mobilenetv3_small_050-resize-pad",
        "1_arch-mobilenetv3_small_050-resize-squish",
        "2_arch-vit_tiny_patch16_224-resize-pad",
        "3_arch-vit_tiny_patch16_224-resize-squish",
    ]
    assert all(job["status"] == "done" for job in jobs.values())
    table = (tmp_path / "sweep" / "comparison.md").read_text()
    assert table in result.stdout and "1 of 4 jobs done" in result.stdout
    for name, job in jobs.items():
        (line,) = (row for row in table.splitlines() if row.startswith(f"| {name} "))
        assert f"{job['error_rate']:.4f}" in line and "done" in line
    ckpt = tmp_path / "sweep" / "2_arch-vit_tiny_patch16_224-resize-pad"
    result = run_script("predict.py", f"ckpt={ckpt}", "tta=true")
    assert result.returncode == 0, result.stderr
    assert (ckpt / "submission.csv").exists()


def test_a_combination_that_cannot_work_is_a_failed_row(
    run_script: Script, stripes: Path, tmp_path: Path
) -> None:
    archs = "arch=hiera_tiny_224,mobilenetv3_small_050"
    data = ["data=paddy", f"data.root={stripes}", "size=130x100", "hydra.sweep.dir=sweep"]
    result = run_script("train.py", "-m", archs, *data, *SMALL)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    jobs = answers(tmp_path / "sweep")
    assert jobs["0_arch-hiera_tiny_224"]["status"] == "failed"
    assert "size=130x100" in str(jobs["0_arch-hiera_tiny_224"]["reason"])
    assert jobs["1_arch-mobilenetv3_small_050"]["status"] == "done"


def test_a_killed_job_is_a_row_and_the_others_run(stripes: Path, tmp_path: Path) -> None:
    words = ["-m", "seed=1,2", "arch=mobilenetv3_small_050", "size=40x32", *SMALL]
    words += ["data=paddy", f"data.root={stripes}", "hydra.sweep.dir=sweep"]
    words += ["trainer.limit_train_batches=1", "epochs=20"]
    with true_starts():  # of its jobs, too
        sweep = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *words],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "sweep" / "0_seed-1" / "summary.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        assert sweep.wait(timeout=200) == 1
    finally:
        if sweep.poll() is None:
            os.killpg(sweep.pid, signal.SIGKILL)
    jobs = answers(tmp_path / "sweep")
    assert jobs["0_seed-1"]["reason"] == "ended by SIGKILL"
    assert [jobs[name]["status"] for name in sorted(jobs)] == ["failed", "done"]


def test_the_same_command_goes_on(run_script: Script, stripes: Path, tmp_path: Path) -> None:
    """Skips what is done, resumes what was cut, repeats what failed; refuses other settings."""
    words = ["-m", "seed=1,2,3", "arch=mobilenetv3_small_050", "size=40x32", *SMALL]
    words += ["data=paddy", f"data.root={stripes}", "hydra.sweep.dir=sweep"]
    assert run_script("train.py", *words).returncode == 0
    sweep = tmp_path / "sweep"
    undisturbed = answers(sweep)
    first, second, third = (sweep / f"{n}_seed-{n + 1}" for n in range(3))
    written = (first / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    summary = json.loads((second / "summary.json").read_text())
    (second / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    shutil.rmtree(third)
    third.mkdir()
    (third / "summary.json").write_text(json.dumps({"status": "failed", "reason": "planted"}))
    result = run_script("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"{Path('sweep', first.name)}  is done already" in result.stdout
    assert (first / "checkpoints" / "best.ckpt").stat().st_mtime_ns == written
    jobs = answers(sweep)
    assert all(job["status"] == "done" for job in jobs.values())
    for name, job in jobs.items():
        assert job["valid_loss"] == undisturbed[name]["valid_loss"]
    result = run_script("train.py", *words, "lr=5e-4")
    assert result.returncode == 1 and "holds another run (lr was 0.002)" in result.stderr


@given(st.lists(st.text(), max_size=5), st.integers(0, 999))
def test_a_jobs_folder_is_safe_to_type(values: list[str], number: int) -> None:
    overrides = [f"k{place}={value}" for place, value in enumerate(values)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWEPT, ",".join(f"k{place}" for place in range(len(values))))
        name = job_folder(number, overrides)
    assert len(name) <= 80 and name.split("_")[0].split("-")[0] == str(number)
    assert all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)


def test_control_c_ends_the_sweep_and_names_what_goes_on(
    run_script: Script, stripes: Path, tmp_path: Path
) -> None:
    words = ["-m", "seed=1,2,3", "arch=mobilenetv3_small_050", "size=40x32", *SMALL]
    words += ["data=paddy", f"data.root={stripes}", "hydra.sweep.dir=sweep", "epochs=8"]
    sweep = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    second = tmp_path / "sweep" / "1_seed-2"
    try:
        deadline = time.monotonic() + 200
        while not (second / "checkpoints" / "last.ckpt").exists():
            assert time.monotonic() < deadline and sweep.poll() is None
            time.sleep(0.05)
        os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
        told, _ = sweep.communicate(timeout=60)
    finally:
        if sweep.poll() is None:
            os.killpg(sweep.pid, signal.SIGKILL)
    assert sweep.returncode == 130
    jobs = answers(tmp_path / "sweep")
    assert {name: job["status"] for name, job in jobs.items()} == {
        "0_seed-1": "done",
        "1_seed-2": "interrupted",
    }
    (command,) = (line.split(": ", 1)[1] for line in told.splitlines() if "this goes on" in line)
    result = run_script("train.py", *shlex.split(command)[2:])
    assert result.returncode == 0, result.stderr
    assert [job["status"] for job in answers(tmp_path / "sweep").values()] == ["done"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_any_launcher_gives_the_same_numbers(
    run_script: Script, stripes: Path, tmp_path: Path, launcher: str
) -> None:
    """Hydra's launchers, which are extras; submitit's local executor stands in for Slurm."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    words = ["-m", "arch=mobilenetv3_small_050,resnet10t", "seed=1,2", "size=40x32", *SMALL]
    words += ["data=paddy", f"data.root={stripes}"]
    assert run_script("train.py", *words, "hydra.sweep.dir=basic").returncode == 0
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    result = run_script(
        "train.py", *words, f"hydra/launcher={launcher}", "hydra.sweep.dir=other", *more
    )
    assert result.returncode == 0, result.stderr
    basic, other = answers(tmp_path / "basic"), answers(tmp_path / "other")
    assert len(basic) == 4 and basic.keys() == other.keys()
    for name, job in basic.items():
        assert job["error_rate"] == other[name]["error_rate"]
        # joblib gives its workers fewer threads, which sum in another order.
        assert job["valid_loss"] == pytest.approx(other[name]["valid_loss"], rel=1e-4)
    assert (tmp_path / "other" / "comparison.csv").exists()
