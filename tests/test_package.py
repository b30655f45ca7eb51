"""The package as pip installs it: the command, its configs, and its front door for Python."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from forks import true_starts

import paddy_lightning
from paddy_lightning.choices import DataConfig
from paddy_lightning.cli.commands import COMMANDS
from paddy_lightning.insight.interpret import interpret
from paddy_lightning.training.train import train

SLOW = {"torch", "timm", "pandas", "pytorch_lightning", "hydra", "omegaconf", "PIL", "numpy"}
SMALL = [
    *("arch=mobilenetv3_small_050", "weights=none", "presize=48x40", "size=32", "epochs=1"),
    *("batch_size=16", "num_workers=0"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with ours in it, from its wheel."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "checkout").mkdir()
    for name in ("src", "conf", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "checkout" / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=folder / "checkout", check=True, capture_output=True)
    shutil.rmtree(folder / "checkout")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*install, "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def paddy(
    site: Path, *words: str, cwd: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Type the installed command."""
    with true_starts():
        return subprocess.run(
            [sys.executable, str(site / "bin" / "paddy"), *words],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(site), **environment},
            capture_output=True,
            text=True,
        )


def test_help_lists_the_commands_and_imports_next_to_nothing(site: Path, tmp_path: Path) -> None:
    result = paddy(site, "--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0
    listed = {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert set(COMMANDS) <= listed and "paddy train -m arch=" in result.stdout
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "paddy_lightning" in imported and not imported & SLOW
    assert paddy(site, cwd=tmp_path).stdout == result.stdout


def test_another_word_is_no_command(site: Path, tmp_path: Path) -> None:
    result = paddy(site, "trian", "epochs=1", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: trian: no such command (there is download, survey,")
    assert result.stderr.endswith("; did you mean train?\n")


def test_from_pictures_to_predictions_without_a_checkout(
    site: Path, stripes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["recipe=demo", "data=paddy", f"data.root={stripes}", *SMALL, f"hydra.run.dir={run}"]
    result = paddy(site, "train", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (run / "train.log").read_text() and str(site) not in (run / "config.yaml").read_text()
    result = paddy(site, "predict", f"ckpt={run}", "tta=true", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (run / "submission.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_the_front_door_opens_the_rooms() -> None:
    assert paddy_lightning.train is train and paddy_lightning.interpret is interpret
    assert paddy_lightning.DataConfig is DataConfig
    assert all(hasattr(paddy_lightning, name) for name in paddy_lightning.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        paddy_lightning.trian  # noqa: B018


def test_importing_the_package_imports_nothing_slow() -> None:
    code = "import paddy_lightning, sys; print(*sys.modules)"
    with true_starts():
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "paddy_lightning" in told.stdout.split() and not set(told.stdout.split()) & SLOW


def test_the_package_without_torch_is_the_same_source_with_fewer_needs(tmp_path: Path) -> None:
    for name in ("src", "runtime"):
        shutil.copytree(ROOT / name, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tmp_path / "runtime", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"paddy_lightning_runtime-{paddy_lightning.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as files:
        there = {*files.namelist()}
    source = {str(path.relative_to(ROOT / "src")) for path in ROOT.glob("src/**/*.py")}
    assert source <= there
    ours, lean = (
        tomllib.loads((ROOT / name).read_text())["project"]
        for name in ("pyproject.toml", "runtime/pyproject.toml")
    )
    needs = {*ours["dependencies"], *ours["optional-dependencies"]["export"]}
    assert needs >= {*lean["dependencies"]}
    assert lean["requires-python"] == ours["requires-python"]
