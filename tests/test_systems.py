"""Windows and macOS, as far as Linux can tell: what the package may ask of them, and what it does.

No such machine runs these tests. Types are checked against what the standard library has there,
and a user's commands are run where Linux refuses what they would (``other_system/``).
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import PADDY, ROOT
from forks import true_starts

HERE = Path(__file__).with_name("other_system")
SYSTEMS = ["win32", pytest.param("darwin", marks=pytest.mark.slow)]
CHECKED = (
    *("--follow-imports", "skip", "--ignore-missing-imports", "--check-untyped-defs"),
    *("--config-file=", "--cache-dir", os.devnull),
)
LACKING = ("[attr-defined]", "[name-defined]")


@pytest.fixture
def named(stripes: Path, tmp_path: Path) -> Path:
    """The striped pictures, their folders with a blank and letters of no console of Windows."""
    root = tmp_path / "my pictures"
    (root / "train_images").mkdir(parents=True)
    for label, name in (
        ("across", "a\u0308cross"),
        ("down", "\u7a32 \u4e0b"),
        ("slanted", "slanted"),
    ):
        (root / "train_images" / name).symlink_to(stripes / "train_images" / label)
    (root / "test_images").symlink_to(stripes / "test_images")
    (root / "sample_submission.csv").symlink_to(stripes / "sample_submission.csv")
    return root


def run_there(system: str, place: Path, *command: str) -> str:
    """A command as on another system; what it says."""
    place.mkdir()
    found = {
        "OTHER_SYSTEM": system,
        "OTHER_PLACE": str(place),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT / "src")]),
        "PYTHONWARNDEFAULTENCODING": "1",
        "PYTHONIOENCODING": "cp1252",  # as a pipe of Windows' in western Europe
    }
    with true_starts():
        result = subprocess.run(
            command, cwd=place, env=os.environ | found, capture_output=True, timeout=500
        )
    said = (result.stdout + result.stderr).decode("cp1252", errors="replace")
    assert result.returncode == 0, said
    assert "Traceback" not in said and "Logging error" not in said, said
    return said


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_nothing_is_asked_of_a_system_that_it_has_not(system: str) -> None:
    """mypy knows which functions of the standard library there are on each."""
    source = str(ROOT / "src")
    command = [sys.executable, "-m", "mypy", "--platform", system, *CHECKED, source]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "checked" in result.stdout, result.stderr
    assert not [line for line in result.stdout.splitlines() if line.endswith(LACKING)]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_users_commands(named: Path, tmp_path: Path, system: str) -> None:
    """Every module imported; training with spawned workers and Ctrl-C, and what comes after it."""
    said = run_there(
        system, tmp_path / "place", sys.executable, str(HERE / "session.py"), str(named)
    )
    assert "interrupted; go on with: paddy train resume=" in said
    assert said.count("cache: all pictures are in") >= 2
    labels = pd.read_csv(tmp_path / "place" / "a" / "submission.csv")["label"]
    assert set(labels) <= {"a\u0308cross", "\u7a32 \u4e0b", "slanted"}


@pytest.mark.slow
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_a_sweep(named: Path, tmp_path: Path, system: str) -> None:
    """Two jobs, each a process that spawns its worker."""
    place = tmp_path / "place"
    small = (
        "arch=mobilenetv3_small_050",
        "weights=none",
        "presize=48x40",
        "size=40x32",
        "epochs=1",
    )
    words = (f"data.root={named}", *small, "seed=1,2", "num_workers=1", "hydra.sweep.dir=swept")
    run_there(system, place, *PADDY, "train", "-m", *words)
    runs = pd.read_csv(place / "swept" / "comparison.csv")
    assert list(runs["status"]) == ["done"] * 2
