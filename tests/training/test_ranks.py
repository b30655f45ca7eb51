"""Several devices and nodes, as processes on the CPU of this machine."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import PADDY, ROOT
from forks import true_starts
from late import coming_late
from lightning_fabric.plugins.environments.lightning import (
    LightningEnvironment,
    find_free_network_port,
)
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from paddy_lightning.atomic import write_json
from paddy_lightning.cli.launch import lacks_reason, needs_ranks, tell, tell_failure
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import TakenError, UserError
from paddy_lightning.faults import PEER_ENDED
from paddy_lightning.ranks import rank
from paddy_lightning.runs.run_folder import locked, save_config, whole_config
from paddy_lightning.runs.summary import read_summary
from paddy_lightning.runs.trainer import lightning_trainer
from paddy_lightning.runs.valid_right import read_right
from paddy_lightning.training.check import check, num_devices

Script = Callable[..., "subprocess.CompletedProcess[str]"]
Job = subprocess.Popen[str]
TWO = ("trainer.devices=2", "trainer.accelerator=cpu")
NODES = ("trainer.num_nodes=2", "trainer.accelerator=cpu")
TRAIN = (*PADDY[1:], "train")
MEASURED = ["seconds", "images_per_second"]  # the only columns of metrics.csv that may differ
OTHERS = {  # as in a job of Slurm that one process of torchrun has started
    **{"SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_NAME": "job"},
    **{"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7", "SLURM_NODEID": "0"},
    **{"RANK": "0", "GROUP_RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
    **{"WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"},
}


def words(data: Path) -> list[str]:
    return [
        *(f"data.root={data}", "arch=resnet10t", "weights=none", "presize=48x40", "size=40x32"),
        # A slower body: its statistics are of half a batch on each of two devices, and noisier.
        *("epochs=3", "batch_size=16", "num_workers=0", "lr=1e-2", "lr_mult=3"),
    ]


def start(*words: str, cwd: Path, **environment: str) -> Job:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def start_nodes(*words: str, cwd: Path) -> list[Job]:
    """Two agents of torchrun, as on two nodes, with a process each: a script and its words."""
    endpoint = f"--rdzv-endpoint=127.0.0.1:{find_free_network_port()}"
    torchrun = (
        *("-c", "from torch.distributed.run import main; main()", "--nnodes=2"),
        *("--nproc-per-node=1", "--rdzv-backend=c10d", endpoint, "--local-addr=127.0.0.1"),
        *("--no-python", sys.executable),
    )
    return [start(*torchrun, *words, cwd=cwd) for _ in range(2)]


def assert_done(jobs: list[Job]) -> str:
    """That all end well; what they say."""
    told = [job.communicate(timeout=300) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * len(jobs), told
    return "".join(out for out, _ in told)


def assert_same_run(ours: Path, theirs: Path) -> None:
    """The same weights, to the bit, and the same numbers of every epoch and picture."""
    first, second = (
        torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for run in (ours, theirs)
    )
    assert all(torch.equal(first[name], second[name]) for name in second)
    for name in ("metrics.csv", "valid_predictions.csv", "valid_right.csv"):
        one, other = (pd.read_csv(run / name) for run in (ours, theirs))
        one, other = (table.drop(columns=MEASURED, errors="ignore") for table in (one, other))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_two_ranks_share_the_pictures_and_end_with_the_same_weights(
    stripes: Path, tmp_path: Path
) -> None:
    script = str(ROOT / "tests" / "two_ranks.py")
    assert_done(start_nodes(script, str(stripes / "train_images"), str(tmp_path), cwd=tmp_path))
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
        job = start(*TRAIN, *words(stripes), *TWO, f"hydra.run.dir={run}", cwd=run.parent)
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
    assert summary["command"].endswith(f"{' '.join(TWO)} hydra.run.dir={two}")  # as typed
    ours, theirs = (pd.read_csv(f / "metrics.csv") for f in (two, tmp_path / "one"))
    learned, alone = (float(rows["train_loss"].iloc[-1]) for rows in (ours, theirs))
    assert learned < 1.3 * alone < math.log(3)
    epochs = ours.set_index("epoch")
    best = epochs.loc[summary["kept_epoch"]]
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
    job = start(*TRAIN, *words(stripes), *TWO, f"hydra.run.dir={run}", cwd=tmp_path)
    while job.poll() is None and not (run / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does
    out, err = job.communicate(timeout=300)
    assert job.returncode == 130 and f"paddy train resume={run}" in out, err
    one = Path(shutil.copytree(run, tmp_path / "one"))
    result = run_script("train", f"resume={run}", **OTHERS)
    assert result.returncode == 0, result.stderr
    assert_same_run(run, two)
    result = run_script("train", f"resume={one}", "trainer.devices=1")
    assert result.returncode == 0, result.stderr
    assert pd.read_csv(one / "metrics.csv")["epoch"].tolist() == [1, 2, 3, 4]


def test_the_number_of_devices_of_a_resumed_run_is_what_is_told_last(tmp_path: Path) -> None:
    save_config(tmp_path, TrainConfig(trainer={"devices": 2, "accelerator": "cpu"}))
    told = [TrainConfig(resume=str(tmp_path), trainer={"devices": n}) for n in (1, 2, 4)]
    assert [needs_ranks(whole_config(config)) for config in told] == [False, True, True]
    assert num_devices(whole_config(TrainConfig(resume=str(tmp_path)))) == 2


def test_two_nodes_are_one_training(stripes: Path, two: Path, tmp_path: Path) -> None:
    """The numbers of two devices of one node, in one run folder; and one agent alone is heard."""
    told = assert_done(start_nodes(*TRAIN, *words(stripes), *NODES, cwd=tmp_path))
    assert sum(line.startswith("epoch ") for line in told.splitlines()) == 4
    (run,) = (tmp_path / "outputs").iterdir()
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert_same_run(run, two)
    ours, theirs = ({path.name.split(".")[0] for path in f.iterdir()} for f in (run, two))
    assert ours == theirs


def test_tasks_of_slurm_are_one_training(stripes: Path, two: Path, tmp_path: Path) -> None:
    """With what srun tells its tasks, on two nodes: there is no Slurm where the tests run."""
    port = str(find_free_network_port())
    tasks = [
        start(
            *(*TRAIN, *words(stripes), *NODES, "hydra.run.dir=run"),
            cwd=tmp_path,
            **slurm(number, 2, 1) | {"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": port},
        )
        for number in range(2)
    ]
    assert_done(tasks)
    assert_same_run(tmp_path / "run", two)


def slurm(number: int, tasks: int, per_node: int | None) -> dict[str, str]:
    """What srun tells one of its tasks."""
    told = {"STEP_NUM_TASKS": tasks, "NTASKS": tasks, "PROCID": number, "JOB_ID": 7}
    told |= {"LOCALID": number % (per_node or 1), "NODEID": number // (per_node or 1)}
    told |= {} if per_node is None else {"NTASKS_PER_NODE": per_node}
    return {f"SLURM_{name}": str(value) for name, value in told.items()}


def torchrun(number: int, processes: int, per_node: int) -> dict[str, str]:
    """What torchrun tells one of its processes."""
    told = {"RANK": number, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": per_node}
    told |= {"LOCAL_RANK": number % per_node, "TORCHELASTIC_RUN_ID": 1}
    return {name: str(value) for name, value in told.items()}


@pytest.mark.parametrize(
    ("told", "number", "kind"),
    [
        ({}, 0, LightningEnvironment),
        (OTHERS, 0, LightningEnvironment),
        (OTHERS | torchrun(1, 2, 2), 1, TorchElasticEnvironment),
        (slurm(3, 4, 2), 3, SLURMEnvironment),
        (slurm(0, 2, 2) | torchrun(5, 8, 4), 5, TorchElasticEnvironment),
        # A batch script of Slurm that says python where it could say srun.
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 0, LightningEnvironment),
    ],
)
def test_who_has_started_the_processes_counts_them(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], number: int, kind: type[Any]
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    trainer = lightning_trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False
    )
    assert type(trainer._accelerator_connector.cluster_environment) is kind
    assert rank() == number


@pytest.mark.parametrize(
    ("told", "trainer", "message"),
    [
        ({}, {"num_nodes": 2}, r"num_nodes=2: start it on each of them with torchrun --nnode"),
        ({}, {"num_nodes": 3, "devices": 4}, r"once with srun --nodes=3 --ntasks-per-node=4 paddy"),
        (torchrun(0, 3, 3), {}, r"^torchrun: has started 3 .*say trainer\.devices=3 .*nodes=1$"),
        (torchrun(1, 2, 1), {"devices": 2}, r"say trainer\.devices=1 trainer\.num_nodes=2$"),
        (torchrun(0, 2, 2), {"num_nodes": 2}, r"say trainer\.devices=2 trainer\.num_nodes=1$"),
        (slurm(0, 4, 2), {"devices": [0, 1]}, r"^srun: .*say trainer\.devices=2 .*num_nodes=2$"),
        (slurm(0, 2, None), {"num_nodes": 2}, r"^srun: say how many .*--ntasks-per-node=1 paddy"),
        (torchrun(0, 4, 2), {"devices": 2, "num_nodes": 2}, None),
        (torchrun(0, 1, 1), {"devices": 2}, None),
        (slurm(0, 1, 1), {"devices": 2}, None),
        (slurm(2, 4, 2), {"devices": "2", "num_nodes": 2}, None),
    ],
)
def test_the_processes_are_as_many_as_the_devices(
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, str],
    trainer: dict[str, object],
    message: str | None,
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    config = TrainConfig(trainer={"accelerator": "cpu", **trainer} if trainer else {})
    if message is None:
        check(config)
        return
    with pytest.raises(UserError, match=message):
        check(config)


def test_a_batch_is_for_the_devices_of_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in torchrun(0, 4, 2).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"batch_size=6: must divide among 4 devices"):
        check(TrainConfig(batch_size=6, trainer={"devices": 2, "num_nodes": 2}))


def test_several_equal_sweeps_are_refused(run_script: Script, tmp_path: Path) -> None:
    result = run_script("train", "-m", "seed=1,2", **torchrun(0, 2, 2))
    assert result.returncode == 1 and result.stderr.startswith("error: -m: without torchrun")
    assert not list(tmp_path.iterdir())


def test_the_summary_of_another_process_is_left_alone(tmp_path: Path) -> None:
    """Where ranks failed because another run has the folder."""
    write_json(tmp_path / "summary.json", {"status": "running"})
    with locked(tmp_path), pytest.raises(TakenError):
        tell_failure(tmp_path, "rank 0 failed")
    assert read_summary(tmp_path) == {"status": "running"}
    for own in ({"status": "running"}, {"status": "failed", "reason": PEER_ENDED}):
        write_json(tmp_path / "summary.json", own)
        assert lacks_reason(tmp_path)
        tell_failure(tmp_path, "rank 1 failed")
        assert read_summary(tmp_path) == {"status": "failed", "reason": "rank 1 failed"}
    assert not lacks_reason(tmp_path)


def test_of_two_that_end_in_the_same_second_the_killed_one_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "summary.json", {"status": "failed", "reason": PEER_ENDED})
    failures = {0: ProcessFailure(0, 1, 1, ""), 1: ProcessFailure(1, 2, -9, "")}
    told = tell(ChildFailedError("train", failures), tmp_path, tmp_path)
    assert told == "rank 1 was ended by SIGKILL"
    write_json(tmp_path / "summary.json", {"status": "failed", "reason": "a.jpg: is gone"})
    assert tell(ChildFailedError("train", {0: failures[0]}), tmp_path, tmp_path) is None


def test_one_that_was_told_to_end_is_not_blamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rank 1 complains, and the launcher ends rank 0, which knows not why."""
    write_json(tmp_path / "summary.json", {"status": "interrupted"})
    (tmp_path / "ranks/attempt_0/1").mkdir(parents=True)
    (tmp_path / "ranks/attempt_0/1/stderr.log").write_text("a warning\nerror: a.jpg: is broken\n")
    failures = {1: ProcessFailure(1, 1, 1, ""), 0: ProcessFailure(0, 2, 130, "")}
    assert tell(ChildFailedError("train", failures), tmp_path, tmp_path) == "a.jpg: is broken"
    assert capsys.readouterr().err == "a warning\nerror: a.jpg: is broken\n"


def test_of_three_the_one_that_knows_is_told(tmp_path: Path) -> None:
    """Two have lost it, in the same second; a fourth was killed for not ending."""
    write_json(tmp_path / "summary.json", {"status": "failed", "reason": PEER_ENDED})
    for number, told in ((1, PEER_ENDED), (2, "a.jpg: is broken")):
        (tmp_path / f"ranks/attempt_0/{number}").mkdir(parents=True)
        (tmp_path / f"ranks/attempt_0/{number}/stderr.log").write_text(f"error: {told}\n")
    codes = {0: 1, 1: 1, 2: 1, 3: -signal.SIGKILL}
    failures = {n: ProcessFailure(n, n + 1, code, "") for n, code in codes.items()}
    failures[3].timestamp += 30
    assert tell(ChildFailedError("train", failures), tmp_path, tmp_path) == "a.jpg: is broken"


def ranks_of(job: Job) -> list[int]:
    """The processes of a job's ranks, which have a session each, in their order."""
    return [pid for pid, parent, session in running() if (parent, session) == (job.pid, pid)]


def running() -> list[tuple[int, int, int]]:
    """(process, its parent, its session) of all on this machine, in the order of their numbers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                found.append((int(stat.parent.name), int(parent), int(session)))
    return sorted(found)


def killed(job: Job) -> list[int]:
    """SIGKILL for the second rank; both."""
    ranks = ranks_of(job)
    os.kill(ranks[1], signal.SIGKILL)
    return ranks


def terminated(job: Job) -> list[int]:
    """SIGTERM for what was started alone, as when a machine is about to go; the ranks."""
    ranks = ranks_of(job)
    job.terminate()
    return ranks


@pytest.mark.parametrize(
    ("end", "code", "status", "reason"),
    [
        (killed, 1, "failed", "rank 1 was ended by SIGKILL"),
        (terminated, 130, "interrupted", None),
    ],
)
def test_what_ends_one_ends_all(
    stripes: Path,
    tmp_path: Path,
    end: Callable[[Job], list[int]],
    code: int,
    status: str,
    reason: str | None,
) -> None:
    run = tmp_path / "run"
    job = start(
        *(*TRAIN, *words(stripes), *TWO, "epochs=200", f"hydra.run.dir={run}"), cwd=tmp_path
    )
    while job.poll() is None and not (run / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    ranks = end(job)
    out, err = job.communicate(timeout=60)
    assert (job.returncode, len(ranks)) == (code, 2), (out, err)
    summary = read_summary(run)
    assert summary["status"] == status
    if reason is not None:
        assert summary["reason"] == reason and err.endswith(f"error: {reason}\n")
    left = [pid for pid, _, session in running() if session in ranks]
    assert not left


def test_the_library_does_not_import_the_command_line() -> None:
    code = (
        "import sys, paddy_lightning.training.train\n"
        "print(any(name.startswith('paddy_lightning.cli') for name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "False\n", told.stderr


@pytest.mark.parametrize("folder", ["", "named"])
@pytest.mark.parametrize("late", ["0", "1"])
def test_a_failing_rank_ends_the_others(
    run_script: Script, stripes: Path, tmp_path: Path, late: str, folder: str
) -> None:
    """Whichever fails first: what is wrong is told once, and kept where the folder was named."""
    words = [f"data.root={stripes}", "arch=resnet10t", "weights=none", "size=40x32", "lr=find"]
    named = [f"hydra.run.dir={folder}"] if folder else []
    with true_starts():
        variables = coming_late(late, tmp_path / "modules")
        result = run_script("train", *words, *TWO, *named, **variables)
    reason = "lr=find: goes with one device; run paddy lr-find on it, and give its rate"
    assert (result.returncode, result.stderr) == (1, f"error: {reason}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"modules", *filter(None, [folder])}
    if folder:
        assert read_summary(tmp_path / folder) == {"status": "failed", "reason": reason}
