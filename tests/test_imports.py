"""The contract of the wings: imports run down, and one that is turned round is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def told_of(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What import-linter says of a checkout."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
    )


def test_imports_run_down_the_wings() -> None:
    result = told_of(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        (
            "data/table.py",
            "from paddy_lightning.runs.trained import load_checkpoint",
            "Imports run",
        ),
        (
            "insight/show.py",
            "from paddy_lightning.prediction.tta import TTA_VIEWS",
            "Imports run",
        ),
        ("network/model.py", "from paddy_lightning.config import TrainConfig", "know nothing"),
        (
            "training/schedule.py",
            "from paddy_lightning.training.fine_tune import FineTune",
            "circle",
        ),
    ],
)
def test_an_import_turned_round_is_found(
    file: str, line: str, contract: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / "src" / "paddy_lightning" / file
    changed.write_text(f"{changed.read_text()}\n\n{line}\n")
    result = told_of(tmp_path)
    broken = [part for part in result.stdout.splitlines() if "BROKEN" in part]
    assert result.returncode == 1 and any(contract in part for part in broken), result.stdout
