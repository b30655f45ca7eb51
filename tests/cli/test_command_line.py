"""The scripts as a user types them."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import PADDY, ROOT
from forks import true_starts
from late import coming_late

Script = Callable[..., "subprocess.CompletedProcess[str]"]
Job = subprocess.Popen[str]
SMALL = [
    "arch=mobilenetv3_small_050",
    "weights=none",
    "presize=48x40",
    "size=40x32",
    "epochs=1",
    "batch_size=16",
    "num_workers=0",
]
SLOW = {"torch", "timm", "pandas", "pytorch_lightning", "kaggle"}  # to import


@pytest.mark.parametrize(
    ("script", "knob"),
    [
        ("train", "arch=resnet26d"),
        ("predict", "tta=off"),
        ("lr-find", "arch=resnet26d"),
        ("survey", "show=false"),
        ("probe", "arch=resnet26d"),
        ("interpret", "run=null"),
        ("compare", "runs=null"),
        ("labels", "runs=null"),
        ("download", "competition=paddy-disease-classification"),
        ("submit", "dry_run=false"),
    ],
)
def test_help_is_complete_and_needs_no_torch(script: str, knob: str, run_script: Script) -> None:
    result = run_script(script, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0 and knob in result.stdout
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "hydra" in imported and not imported & SLOW


@pytest.mark.parametrize("name", ["train", "predict"])
def test_a_script_of_the_checkout_takes_the_same_words(name: str, run_script: Script) -> None:
    assert run_script(f"{name}.py", "--help").stdout == run_script(name, "--help").stdout
    ours, theirs = (run_script(start, "+lrr=3") for start in (f"{name}.py", name))
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)
    assert "lrr: no such knob" in ours.stderr


def write_recipes(folder: Path) -> None:
    """Recipes of a user's own: a sound one, one with a mistake, and one that is no YAML."""
    (folder / "recipe").mkdir(parents=True)
    for name, text in (("sound", "lr: 0.25"), ("mine", "lrr: 3"), ("torn", "lr: [")):
        (folder / "recipe" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lrr=3", "lrr: no such knob; did you mean lr?"),
        ("data.rot=x", "rot: no such knob; did you mean root?"),
        ("epochs=abc", "epochs: Value 'abc' of type 'str' could not be converted to Integer"),
        ("epochs=-1", "epochs=-1: must be at least 0"),
        ("epochs=0 freeze_epochs=0", "nothing to train"),
        ("batch_size=1", "batch_size=1: must be at least 2"),
        ("resize=squash", "resize: Invalid value 'squash', expected one of [squish, pad, crop]"),
        ("data=fodler", "data=fodler: no such choice; did you mean folder? there is auto, demo,"),
        (
            "recipe=demmo",
            "recipe=demmo: no such choice; did you mean demo? there is baseline, best, better_lr,",
        ),
        ("lr=[1", "no viable alternative"),
        ("lr=-1", "lr=-1: must be above 0"),
        ("lr=nan", "lr=nan: must be above 0"),
        ("min_scale=2", "min_scale=2.0: must be above 0 and at most 1"),
        ("size=12y", "size=12y: not a size"),
        ("presize=[1,2,3]", "not a size; give one side, [height,width] or HEIGHTxWIDTH"),
        ("arch=convnext_smal", "did you mean convnext_small"),
        ("arch=resnet26d,convnext_small", "several values make a sweep; add -m"),
        ("weights=missing.pth", "weights=missing.pth: no such file"),
        ("data=folder weights=none", "say where, with data.root=FOLDER"),
        ("data=folder data.root=missing weights=none", "missing: no such folder"),
        ("augment=[{RandomErase:{}}]", "no augmentation 'RandomErase'"),
        ("trainer.devces=1", "Trainer has no such argument; did you mean devices?"),
        ("trainer.devices=none", "trainer.devices=none: give a number"),
        ("trainer.devices=2 batch_size=7", "batch_size=7: must divide among 2 devices"),
        ("trainer.max_epochs=3", "trainer.max_epochs: use epochs= and freeze_epochs="),
        ("--epochs 3", "--epochs: knobs are written epochs=VALUE, without spaces or dashes"),
        ("-lr=3", "-lr=3: knobs are written lr=VALUE"),
        ("lr = 3", "lr: knobs are written lr=VALUE"),
        ("epochs=1.5", "epochs: Value '1.5' of type 'float' could not be converted to Integer"),
        ("lr=abc", "lr=abc: must be above 0, such as 2e-3, or find"),
        ("lr=inf", "lr=inf: must be above 0"),
        ("batch_size=many", "batch_size: Value 'many'"),
        ("num_workers=-1", "num_workers=-1: must be at least 0"),
        ("seed=-1", "seed=-1: must be at least 0"),
        ("split_seed=4294967296", "split_seed=4294967296: must be below 2**32"),
        ("fold=5", "fold=5: must be from 0 to 4 (folds - 1)"),
        ("folds=1", "folds=1: must be at least 2"),
        ("split=stratifed", "expected one of [auto, random, stratified]"),
        ("bad_images=ignore", "expected one of [refuse, skip]"),
        ("pad_mode=mirror", "expected one of [zeros, border, reflection]"),
        ("tta=maybe", "tta: Value 'maybe' is not a valid bool"),
        ("min_scale=0", "min_scale=0.0: must be above 0"),
        ("size=0", "size=0: not a size"),
        ("size=128x", "size=128x: not a size"),
        ("size=[128,-1]", "size=[128, -1]: not a size"),
        ("precision=17-mixed", "precision=17-mixed: not one of 32-true, 16-mixed"),
        ("arch=resnet26d.imagenet", "resnet26d has no such weights; it has resnet26d.bt_in1k"),
        ("augment=RandomErasing", "augment"),
        ("augment=[{RandomErasing:{q:1}}]", "augment: RandomErasing({'q': 1})"),
        ("trainer.accelerator=tpu", "trainer.accelerator=tpu: give auto, cpu, gpu"),
        ("trainer.accelerator=gpu", "trainer, precision: No supported gpu backend found"),
        ("data=paddy data.root=missing weights=none", "missing: no train_images/ there"),
        ("data.root=missing weights=none", "missing: no such folder"),
        ("data.csv=missing.csv weights=none", "missing.csv: cannot be read as a table"),
        ("data.root=. weights=none", "0 pictures in 0 classes; needs at least two"),
        ("resume=missing", "resume=missing: not a run folder"),
        ("+lrr=3", "lrr: no such knob; did you mean lr?"),
        ("+data.rot=x", "data.rot: no such knob; did you mean data.root"),
        ("~foo", "~foo: is not there to be deleted"),
        ("data=null", "data=, recipe=: take a name of theirs; ~recipe goes without one"),
        ("arch=null", "arch=null: needs a value"),
        ("arch=???", "arch=???: needs a value"),
        ("lr=range(1,3)", "lr=range(1,3): several values make a sweep; add -m"),
        ("augment=[a", "augment=[a: no viable alternative at input"),
        ("hydra/launcher=jobli", "no such choice; did you mean joblib? there is basic, joblib,"),
        ("data.root=${x}", "data.root: Interpolation key 'x' not found"),
        ("--resolve", "The --resolve flag can only be used in conjunction with --cfg"),
        ("-m --cfg job", "Only one of --run, --multirun, --cfg"),
        ("-cd nowhere", "nowhere' not found"),
        ("--config-name nope", "Cannot find primary config 'nope'"),
        ("-cd recipes recipe=mine", "recipe/mine: lrr: no such knob; did you mean lr?"),
        ("-cd recipes recipe=torn", 'torn.yaml", line'),
        ("-m folds=5,6 fold=9", "fold=9: must be from 0 to 4 (folds - 1); nothing was trained"),
        ("-m arch=resnet26d,convnext_smal", "did you mean convnext_small"),
        ("-m resize=pad,squih", "Invalid value 'squih', expected one of [squish, pad, crop]"),
    ],
)
def test_a_mistake_is_one_clear_message(
    words: str, message: str, run_script: Script, tmp_path: Path
) -> None:
    if "recipes" in words:
        write_recipes(tmp_path / "recipes")
    result = run_script("train", *words.split())
    assert result.returncode in (1, 2)
    assert message in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3
    shutil.rmtree(tmp_path / "recipes", ignore_errors=True)
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_the_whole_traceback_on_demand(run_script: Script) -> None:
    result = run_script("train", "lr=-1", HYDRA_FULL_ERROR="1")
    assert result.returncode == 1 and "Traceback" in result.stderr


def test_without_a_hub_the_ways_out_are_named(run_script: Script, tmp_path: Path) -> None:
    result = run_script("train")
    assert result.returncode == 1 and not (tmp_path / "data").exists(), "drew data for nothing"
    for way in ("weights=none", "weights=FILE", "arch=tf_efficientnet_lite0"):
        assert way in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_from_folder_to_submission(run_script: Script, stripes: Path, tmp_path: Path) -> None:
    """The main job: train, look at one picture, predict with TTA, submit in the sample's order."""
    with true_starts():
        result = run_script("train", "data=paddy", f"data.root={stripes}", *SMALL, "tta=true")
    assert result.returncode == 0, result.stderr
    first, *_, told, last = result.stdout.strip().splitlines()
    assert first.startswith("data: paddy in ") and "60 pictures, 3 classes, 8 to predict" in first
    assert sum(line.startswith("epoch ") for line in result.stdout.splitlines()) == 2
    (run,) = (tmp_path / "outputs").iterdir()
    assert told.startswith("error rate 0.") and last.startswith("done in ") and str(run) in last
    assert "epoch 2/2" in (run / "train.log").read_text()

    result = run_script("predict", f"ckpt={run}", "tta=true")
    assert result.returncode == 0, result.stderr
    predictions = pd.read_csv(run / "predictions.csv").set_index("file")
    submitted = pd.read_csv(run / "submission.csv")
    sample = pd.read_csv(stripes / "sample_submission.csv")
    assert submitted["image_id"].tolist() == sample["image_id"].tolist()
    assert submitted["label"].tolist() == predictions.loc[sample["image_id"], "label"].tolist()

    picture = next((stripes / "test_images").iterdir())
    result = run_script("predict", f"ckpt={run}", f"images={picture}", f"output={tmp_path}/one")
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for name in (picture.name, "across", "down", "slanted"))

    folder = stripes / "train_images"
    result = run_script("predict", f"ckpt={run}/checkpoints/best.ckpt", f"images={folder}")
    assert "error_rate 0." in result.stdout and "kept what was there" in result.stdout
    assert (run / "predictions.1.csv").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "one"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "say which model, with ckpt=RUN_FOLDER"),
        ("ckpt=missing", "missing: no such checkpoint"),
        (f"ckpt={ROOT / 'train.py'}", "not a checkpoint made by paddy train"),
        ("ckpt=a=b,c(d).ckpt", "a=b,c(d).ckpt: no such checkpoint"),
        ("ckpt=x tta=meen", "tta=meen: not one of off, mean, max"),
    ],
)
def test_predicting_from_nothing_is_refused(
    words: str, message: str, run_script: Script, tmp_path: Path
) -> None:
    result = run_script("predict", *words.split())
    assert result.returncode == 1 and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("survey", "fold=9", "fold=9: must be from 0 to 4"),
        ("survey", "data.root=missing", "missing: no such folder"),
        ("survey", "sho=true", "sho: no such knob; did you mean show?"),
        ("lr-find", "arch=resnet26dd", "timm has no such model; did you mean resnet26d"),
        ("predict", "hydra.run.dir=x/y=(1)", "say which model, with ckpt=RUN_FOLDER"),
        ("interpret", "", "say which run, with run=RUN_FOLDER"),
        ("interpret", "run=missing", "missing: not a run folder"),
        ("compare", "", "say which runs, with runs=SWEEP_FOLDER"),
        ("compare", "runs=missing", "runs=missing: no run there"),
    ],
)
def test_a_mistake_with_any_script_is_one_sentence(
    script: str, words: str, message: str, run_script: Script, tmp_path: Path
) -> None:
    result = run_script(script, *words.split())
    assert result.returncode in (1, 2) and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir()), "something was left behind"


@contextmanager
def long_run(data: Path, cwd: Path, inherited: signal.Handlers = signal.SIG_DFL) -> Iterator[Job]:
    """A run of 500 epochs in ``cwd/run``, one of which is over; killed at the end."""
    command = [*PADDY, "train", "data=paddy", f"data.root={data}"]
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    job = subprocess.Popen(
        [*command, *SMALL, "epochs=500", "cache=off", "hydra.run.dir=run"],
        cwd=cwd,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore if inherited is signal.SIG_IGN else None,
    )
    try:
        deadline = time.monotonic() + 120
        while not (cwd / "run" / "checkpoints" / "last.ckpt").exists():
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.1)
        yield job
    finally:
        job.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN], ids=["terminal", "script"])
def test_a_stopped_run_says_so_and_keeps_what_there_is(
    stripes: Path, tmp_path: Path, stop: signal.Signals, inherited: signal.Handlers
) -> None:
    """Also where it was started in the background of a script, with Ctrl-C ignored."""
    with long_run(stripes, tmp_path, inherited) as job:
        job.send_signal(stop)
        _, errors = job.communicate(timeout=60)
    assert job.returncode == 130 and "Traceback" not in errors
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert "paddy train resume=" in (tmp_path / "run" / "train.log").read_text()


def test_stopped_before_it_begins_it_leaves_nothing(stripes: Path, tmp_path: Path) -> None:
    command = [*PADDY, "train", "data=paddy", f"data.root={stripes}", *SMALL]
    variables = coming_late("alone", tmp_path / "modules")
    told: dict[str, Any] = {"cwd": tmp_path, "env": os.environ | variables, "text": True}
    with true_starts():
        job: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **told)
    assert job.stdout.readline() == "late\n" and list(tmp_path.glob("outputs/*/.hydra"))
    job.send_signal(signal.SIGINT)
    assert job.communicate(timeout=60) == ("", "") and job.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["modules"]


def test_stopped_where_there_is_something_it_leaves_all(stripes: Path, tmp_path: Path) -> None:
    """As when a folder is looked into again."""
    run = tmp_path / "looked_at"
    run.mkdir()
    (run / "train.log").write_text("precious")
    (run / "lr_find.csv").write_text("precious")
    command = [*PADDY, "train", f"data.root={stripes}", *SMALL, f"hydra.run.dir={run}"]
    variables = coming_late("alone", tmp_path / "modules")
    told: dict[str, Any] = {"cwd": tmp_path, "env": os.environ | variables, "text": True}
    with true_starts():
        job: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **told)
    assert job.stdout.readline() == "late\n"
    job.send_signal(signal.SIGINT)
    job.communicate(timeout=60)
    assert (run / "train.log").read_text() == "precious" and (run / ".hydra").is_dir()


def test_a_file_that_breaks_while_training_is_named(stripes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(stripes, tmp_path / "data")
    with long_run(data, tmp_path) as job:
        for file in (data / "train_images" / "slanted").iterdir():
            file.write_bytes(b"not a picture")
        _, errors = job.communicate(timeout=60)
    assert job.returncode == 1 and "cannot be read as a picture" in errors
    assert len(errors.strip().splitlines()) == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed" and "slanted" in summary["reason"]


def test_a_refused_run_takes_nobodys_files_with_it(run_script: Script, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    result = run_script("train", "lr=-1", "++hydra.run.dir=.")
    assert result.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_after_a_refusal_the_same_folder_can_be_used(
    run_script: Script, stripes: Path, tmp_path: Path
) -> None:
    words = ("train", "data=paddy", f"data.root={stripes}", *SMALL, "hydra.run.dir=run")
    assert run_script(*words, "lr=-1").returncode == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    assert run_script(*words).returncode == 0
    assert run_script(*words).returncode == 1


def test_a_folder_with_a_run_is_left_as_it_is(run_script: Script, tmp_path: Path) -> None:
    """Hydra, too, writes nothing there."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("arch: resnet26d")
    result = run_script("train", f"hydra.run.dir={run}", "weights=none")
    assert result.returncode == 1 and "holds a run already; choose another" in result.stderr
    assert [path.name for path in run.rglob("*")] == ["config.yaml"]
