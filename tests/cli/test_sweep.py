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
from typing import Any

import pytest
from conftest import PADDY
from forks import true_starts
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from paddy_lightning.choices import DataConfig
from paddy_lightning.cli import sweep
from paddy_lightning.cli.children import child_environment, wants_tracebacks
from paddy_lightning.cli.schemas import SWEPT, job_folder
from paddy_lightning.config import TrainConfig
from paddy_lightning.runs.run_folder import locked, save_config

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


def children_of(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in told.split()]


def test_the_used_by_line(run_script: Script, stripes: Path, tmp_path: Path) -> None:
    """``paddy train -m arch=...,... resize=pad,squish``, then a prediction by one of them."""
    archs = "arch=mobilenetv3_small_050,vit_tiny_patch16_224"
    data = ["data=paddy", f"data.root={stripes}", "size=64", "hydra.sweep.dir=sweep"]
    result = run_script("train", "-m", archs, "resize=pad,squish", *data, *SMALL)
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
    result = run_script("predict", f"ckpt={ckpt}", "tta=true")
    assert result.returncode == 0, result.stderr
    assert (ckpt / "submission.csv").exists()


def test_a_combination_that_cannot_work_is_a_failed_row(
    run_script: Script, stripes: Path, tmp_path: Path
) -> None:
    archs = "arch=hiera_tiny_224,mobilenetv3_small_050"
    data = ["data=paddy", f"data.root={stripes}", "size=130x100", "hydra.sweep.dir=sweep"]
    result = run_script("train", "-m", archs, *data, *SMALL)
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
            [*PADDY, "train", *words],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "sweep" / "0_seed-1" / "summary.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (job,) = (pid for child in children_of(sweep.pid) for pid in children_of(child))
        os.kill(job, signal.SIGKILL)
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
    assert run_script("train", *words).returncode == 0
    sweep = tmp_path / "sweep"
    undisturbed = answers(sweep)
    first, second, third = (sweep / f"{n}_seed-{n + 1}" for n in range(3))
    written = (first / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    summary = json.loads((second / "summary.json").read_text())
    (second / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    shutil.rmtree(third)
    third.mkdir()
    (third / "summary.json").write_text(json.dumps({"status": "failed", "reason": "planted"}))
    result = run_script("train", *words)
    assert result.returncode == 0, result.stderr
    assert f"{Path('sweep', first.name)}  is done already" in result.stdout
    assert (first / "checkpoints" / "best.ckpt").stat().st_mtime_ns == written
    jobs = answers(sweep)
    assert all(job["status"] == "done" for job in jobs.values())
    for name, job in jobs.items():
        assert job["valid_loss"] == undisturbed[name]["valid_loss"]
    result = run_script("train", *words, "lr=5e-4")
    assert result.returncode == 1 and "holds another run (lr was 0.002)" in result.stderr


def test_jobs_are_forked_from_a_process_that_did_nothing_but_import(tmp_path: Path) -> None:
    """One thread, so that a fork has all; and none of its devices or of CUDA's has been asked."""
    code = (
        "import os, threading\n"
        "import paddy_lightning.cli.preload\n"
        "import torch\n"
        "print(len(os.listdir('/proc/self/task')), torch.cuda.is_initialized())"
    )
    with true_starts():
        told = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
        )
    assert told.stdout.split() == ["1", "False"] and not told.stderr


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
        [*PADDY, "train", *words],
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
    result = run_script(*shlex.split(command.removeprefix("python -m paddy_lightning ")))
    assert result.returncode == 0, result.stderr
    assert [job["status"] for job in answers(tmp_path / "sweep").values()] == ["done"] * 3


def test_a_mistake_under_another_launcher_is_a_row_and_a_sentence(
    run_script: Script, tmp_path: Path
) -> None:
    """Whose workers inherit what we tell Hydra of tracebacks, and not the user's wish."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ["-m", "weights=none", "data.root='missing, far',gone(1)", "hydra/launcher=joblib"]
    result = run_script("train", *words, "hydra.launcher.n_jobs=2", "hydra.sweep.dir=a=b (1)")
    assert result.returncode == 1 and "Traceback" not in result.stderr + result.stdout
    told = ["gone(1): no such folder", "missing, far: no such folder"]
    lines = sorted(line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert [line.split("; ")[0] for line in lines] == [f"error: {one}" for one in told]
    jobs = answers(tmp_path / "a=b (1)")
    assert sorted(str(job["reason"]).split("; ")[0] for job in jobs.values()) == told


@pytest.mark.parametrize(
    ("ours", "hydras", "wanted"),
    [(None, None, False), (None, "1", True), ("0", "1", False), ("1", "1", True)],
)
def test_the_users_wish_for_tracebacks_is_handed_on(
    ours: str | None, hydras: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PADDY_FULL_ERROR", ours), ("HYDRA_FULL_ERROR", hydras)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert wants_tracebacks() == wanted
    assert child_environment().get("HYDRA_FULL_ERROR") == ("1" if wanted else None)


def cut_run(folder: Path, **summary: object) -> Path:
    """A run whose pictures are gone, and that did not end."""
    folder.mkdir(parents=True)
    save_config(folder, TrainConfig(DataConfig(root=str(folder / "gone")), weights="none"))
    (folder / "summary.json").write_text(json.dumps({"status": "interrupted", **summary}))
    return folder


def test_a_run_that_cannot_go_on_says_why(run_script: Script, tmp_path: Path) -> None:
    run = cut_run(tmp_path / "run", seconds=7)
    assert run_script("train", "resume=run").returncode == 1
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed" and summary["seconds"] == 7
    assert "gone: no such folder" in summary["reason"]


def test_the_summary_of_a_run_in_other_hands_is_left_alone(
    run_script: Script, tmp_path: Path
) -> None:
    run = cut_run(tmp_path / "run", status="running")
    before = (run / "summary.json").read_text()
    with locked(run):
        result = run_script("train", "resume=run")
        assert result.returncode == 1 and "by another process" in result.stderr
        sweep.keep_ending(run, 1)
        assert (run / "summary.json").read_text() == before
    sweep.keep_ending(run, 1)
    assert json.loads((run / "summary.json").read_text())["reason"] == "ended by exit code 1"
    sweep.keep_ending(run, -9)
    assert json.loads((run / "summary.json").read_text())["reason"] == "ended by SIGKILL"


def test_a_users_own_configs_reach_every_job(run_script: Script, tmp_path: Path) -> None:
    recipe = tmp_path / "my configs" / "recipe" / "mine.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("# @package _global_\nlr: 0.25\nweights: none\n")
    words = ["data.root=missing", "recipe=mine,final", "hydra.sweep.dir=sweep"]
    result = run_script("train", *words, "--config-dir", "my configs", "-m", "weights=none")
    assert result.returncode == 1
    jobs = answers(tmp_path / "sweep")
    assert len(jobs) == 2
    assert all("missing: no such folder" in str(job["reason"]) for job in jobs.values())
    saved: Any = OmegaConf.load(tmp_path / "sweep" / "0_recipe-mine" / ".hydra" / "config.yaml")
    assert saved["lr"] == 0.25


@pytest.mark.parametrize(
    ("code", "summary", "value"),
    [
        (0, {"status": "done", "error_rate": 0.0}, 0.0),
        (0, {"status": "done", "error_rate": 0.25}, 0.25),
        (1, {"status": "failed", "reason": "too large"}, 1.0),
        (-9, {"status": "running"}, 1.0),
    ],
)
def test_a_job_hands_its_error_rate_to_the_sweeper(
    code: int,
    summary: dict[str, object],
    value: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Job:
        def __init__(self, *_: object, **__: object) -> None:
            (tmp_path / "summary.json").write_text(json.dumps(summary))

        def wait(self) -> int:
            return code

    hydra = OmegaConf.create({"runtime": {"output_dir": str(tmp_path)}})
    monkeypatch.setattr("paddy_lightning.cli.sweep.HydraConfig.get", lambda: hydra)
    monkeypatch.setattr(sweep, "knobs_again", list)
    monkeypatch.setattr(sweep, "flags_again", lambda script: [])
    monkeypatch.setattr(sweep, "start", Job)
    assert sweep.run_as_process("train", OmegaConf.create()) == value


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_any_launcher_gives_the_same_numbers(
    run_script: Script, stripes: Path, tmp_path: Path, launcher: str
) -> None:
    """Hydra's launchers, which are extras; submitit's local executor stands in for Slurm."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    words = ["-m", "arch=mobilenetv3_small_050,resnet10t", "seed=1,2", "size=40x32", *SMALL]
    words += ["data=paddy", f"data.root={stripes}"]
    assert run_script("train", *words, "hydra.sweep.dir=basic").returncode == 0
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    result = run_script(
        "train", *words, f"hydra/launcher={launcher}", "hydra.sweep.dir=other", *more
    )
    assert result.returncode == 0, result.stderr
    basic, other = answers(tmp_path / "basic"), answers(tmp_path / "other")
    assert len(basic) == 4 and basic.keys() == other.keys()
    for name, job in basic.items():
        assert job["error_rate"] == other[name]["error_rate"]
        # joblib gives its workers fewer threads, which sum in another order.
        assert job["valid_loss"] == pytest.approx(other[name]["valid_loss"], rel=1e-4)
    assert (tmp_path / "other" / "comparison.csv").exists()
