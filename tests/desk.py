"""A user's folder, and a Kaggle to talk to from there."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kaggle_server import STARTUP, TOKEN, Kaggle

SOURCES = Path(__file__).parents[1] / "src"
NAME = "paddy-disease-classification"
CHUNK = 2**20  # bytes that the package writes at a time; what a cut leaves of one is lost
Result = subprocess.CompletedProcess[str]


@dataclass
class Desk:
    """A user's folder with nothing in it, and a Kaggle to talk to."""

    folder: Path
    kaggle: Kaggle
    timeout: float = 20
    stdin: int = subprocess.DEVNULL

    def type(self, *words: object, **changes: str | None) -> Result:
        """Type a command here; a change of None takes a variable out of the environment."""
        startup = self.folder.parent / "startup"
        startup.mkdir(exist_ok=True)
        text = STARTUP.format(port=self.kaggle.port, timeout=self.timeout)
        (startup / "sitecustomize.py").write_text(text)
        home = self.folder.parent / "home"
        path = [str(startup), str(SOURCES), os.environ.get("PYTHONPATH", "")]
        own = {key: value for key, value in os.environ.items() if not key.startswith("KAGGLE")}
        own |= {"HOME": str(home), "KAGGLE_CONFIG_DIR": str(home / "config")}
        own |= {"PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1"}
        changed: dict[str, str | None] = {"KAGGLE_API_TOKEN": TOKEN, **changes}
        own |= {key: value for key, value in changed.items() if value is not None}
        name, *arguments = map(str, words)
        return subprocess.run(
            [sys.executable, "-m", "paddy_lightning", name, *arguments],
            cwd=self.folder,
            env=own,
            stdin=self.stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )


def one_sentence(result: Result, said: str) -> None:
    assert result.returncode == 1, (result.stdout, result.stderr)
    assert said in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert TOKEN not in result.stdout + result.stderr
