"""The bad day, provoked for real: what the user sees, and what is left to go on from."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import PADDY, ROOT

from paddy_lightning.faults import sentence_of

Script = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = [
    *("arch=mobilenetv3_small_050", "weights=none", "presize=48x40", "size=40x32"),
    *("epochs=3", "freeze_epochs=0", "batch_size=16", "num_workers=0", "cache=off"),
]


@pytest.fixture
def data(stripes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stripes, tmp_path / "pictures"))


@pytest.fixture
def words(data: Path) -> list[str]:
    return ["data=paddy", f"data.root={data}", *SMALL]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system in memory, with the options given."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a disk of its own: mounting one needs root")
        return disk

    yield mount
    subprocess.run(["umount", "-l", str(disk)], capture_output=True)


def start(*words: str, cwd: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*PADDY, "train", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(job: "subprocess.Popen[str]", ready: Callable[[], object]) -> None:
    while job.poll() is None and not ready():
        time.sleep(0.005)


def assert_told(result: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    """One line of error, no traceback, exit code 1."""
    assert result.returncode == 1, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and sentence in errors[0], result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def ended(job: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    out, err = job.communicate(timeout=300)
    return subprocess.CompletedProcess(job.args, job.returncode, out, err)


def status(run: Path) -> str:
    return str(json.loads((run / "summary.json").read_text())["status"])


def assert_resumes(run_script: Script, run: Path) -> None:
    result = run_script("train", f"resume={run}")
    assert result.returncode == 0, result.stderr
    assert status(run) == "done" and len(pd.read_csv(run / "metrics.csv")) == 3
    assert not list(run.rglob("*.part"))


def test_a_killed_worker(words: list[str], run_script: Script, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start(*words, "num_workers=1", "epochs=3", f"hydra.run.dir={run}", cwd=tmp_path)
    wait_for(job, (run / "checkpoints" / "last.ckpt").exists)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    assert children
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    result = ended(job)
    assert_told(result, "a process that opens pictures was killed")
    assert f"go on with: paddy train resume={run}" in result.stdout
    assert status(run) == "failed"
    assert_resumes(run_script, run)


LITTLE_MEMORY = """
import resource, runpy, sys

pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30,) * 2)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_out_of_memory(words: list[str], tmp_path: Path) -> None:
    """Of a process that may have one more gigabyte than it started with."""
    large = ["size=1000", "batch_size=48", "epochs=1", f"hydra.run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-c", LITTLE_MEMORY, str(ROOT / "train.py"), *words, *large]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert_told(result, "out of memory: a smaller batch_size=")
    assert status(tmp_path / "run") == "failed"


def test_little_shared_memory(words: list[str], tmp_path: Path) -> None:
    """As in a container: it goes on without workers, and says what would give more."""
    train = [*PADDY, "train", *words, "num_workers=2", "epochs=1"]
    command = ["unshare", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    if not shutil.which("unshare") or subprocess.run([*command, "true"]).returncode:
        pytest.skip("a small /dev/shm: a mount of its own needs root")
    result = subprocess.run(
        [*command, script, "sh", *train], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert "num_workers: 0, not 2: /dev/shm has 0 MB free" in result.stdout
    assert "docker run --shm-size=1g gives more" in result.stdout


def test_a_full_disk_while_a_checkpoint_is_written(
    words: list[str],
    run_script: Script,
    mounted: Callable[[str], Path],
) -> None:
    """It holds the checkpoints of one epoch, and not those of the next beside them."""
    disk = mounted("size=16m")
    run = disk / "run"
    result = run_script("train", *words, f"hydra.run.dir={run}")
    assert_told(result, "the disk is full: make room")
    assert status(run) == "failed"
    assert f"go on with: paddy train resume={run}" in result.stdout
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0 and not list(run.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    assert_resumes(run_script, run)


def test_a_file_deleted_during_training(
    words: list[str], data: Path, run_script: Script, tmp_path: Path
) -> None:
    run, victim = tmp_path / "run", data / "train_images" / "down" / "down07.jpg"
    content = victim.read_bytes()
    job = start(*words, f"hydra.run.dir={run}", cwd=tmp_path)
    wait_for(job, (run / "checkpoints" / "last.ckpt").exists)
    victim.unlink()
    assert_told(ended(job), "down07.jpg: cannot be read as a picture")
    assert status(run) == "failed"
    victim.write_bytes(content)
    assert_resumes(run_script, run)


def test_a_file_changed_during_training(words: list[str], data: Path, tmp_path: Path) -> None:
    run, victim = tmp_path / "run", data / "train_images" / "down" / "down07.jpg"
    job = start(*words, f"hydra.run.dir={run}", cwd=tmp_path)
    wait_for(job, (run / "checkpoints" / "last.ckpt").exists)
    shutil.copy(data / "train_images" / "down" / "down08.jpg", victim)
    result = ended(job)
    assert result.returncode == 0 and status(run) == "done"
    told = "1 pictures changed while the run went on, and its numbers cannot be had again"
    assert told in result.stdout and "down07.jpg" in result.stdout


def test_with_a_cache_neither_matters(words: list[str], data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start(*words, f"cache={tmp_path / 'cache'}", f"hydra.run.dir={run}", cwd=tmp_path)
    wait_for(job, (run / "checkpoints" / "last.ckpt").exists)
    (data / "train_images" / "down" / "down07.jpg").unlink()
    result = ended(job)
    assert result.returncode == 0, result.stderr
    assert status(run) == "done" and "cannot be had again" not in result.stdout


def test_a_loss_that_is_no_number(words: list[str], run_script: Script, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = run_script("train", *words, "lr=1e30", f"hydra.run.dir={run}")
    assert_told(result, "(epoch 1): a new run with a lower lr= may help; a resume would come to")
    assert "the loss is " in result.stderr and status(run) == "failed"
    assert not (run / "checkpoints" / "last.ckpt").exists()


def test_two_runs_at_the_same_time_and_a_moved_run(
    words: list[str], run_script: Script, tmp_path: Path
) -> None:
    jobs = [start(*words, "epochs=1", cwd=tmp_path) for _ in range(2)]
    results = [ended(job) for job in jobs]
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    runs = list((tmp_path / "outputs").iterdir())
    assert len(runs) == 2 and [status(run) for run in runs] == ["done"] * 2
    moved = runs[0].rename(tmp_path / "elsewhere")
    result = run_script("predict", f"ckpt={moved}")
    assert result.returncode == 0, result.stderr
    assert (moved / "submission.csv").exists()


def test_a_stopped_run_that_was_moved(words: list[str], run_script: Script, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = start(*words, f"hydra.run.dir={run}", cwd=tmp_path)
    wait_for(job, (run / "checkpoints" / "last.ckpt").exists)
    os.killpg(job.pid, signal.SIGKILL)
    job.communicate()
    assert_resumes(run_script, run.rename(tmp_path / "elsewhere"))


def test_a_read_only_folder(
    words: list[str], run_script: Script, mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mounted("ro,size=64m")
    result = run_script("train", *words, f"hydra.run.dir={disk / 'run'}")
    assert_told(result, "Read-only file system; hydra.run.dir= or output= name another folder")
    result = run_script("train", *words, "epochs=1", f"cache={disk / 'cache'}")
    assert result.returncode == 0 and "cache: goes without" in result.stdout
    (run,) = (tmp_path / "outputs").iterdir()
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    shutil.copytree(run, disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert_told(run_script("train", f"resume={disk / 'run'}"), "Read-only file system")
    result = run_script("predict", f"ckpt={run}", f"output={disk / 'predictions'}")
    assert_told(result, "Read-only file system; hydra.run.dir= or output= name another folder")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        *(
            (kind(words), "the GPU is out of memory: a smaller batch_size= ")
            for kind, words in (
                (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB."),
                (RuntimeError, "CUDA error: out of memory"),
                (RuntimeError, "CUDA driver error: out of memory"),
                (RuntimeError, "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
                (
                    RuntimeError,
                    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
                ),
            )
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible"
            ),
            "the shared memory of this machine (/dev/shm) is full",
        ),
        (
            RuntimeError(
                "adaptive_max_pool2d_backward_cuda does not have a deterministic implementation,"
                " but you set 'torch.use_deterministic_algorithms(True)'."
            ),
            "trainer.deterministic=warn",
        ),
        (
            RuntimeError(
                "[/pytorch/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer"
            ),
            "another process of this training has ended",
        ),
        (MemoryError(), "out of memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("No space left on device"), None),
    ],
)
def test_what_cannot_be_provoked_here(error: Exception, sentence: str | None) -> None:
    """In torch's words; nothing is explained that is not known."""
    told = sentence_of(error)
    assert told is None if sentence is None else sentence in str(told)
