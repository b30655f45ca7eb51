"""A command's process ends at once, and otherwise as any of Python's."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forks import true_starts

CODE = """
import atexit, os, sys
from paddy_lightning.cli.leave import leave_after

class Slow:
    def __del__(self):
        print("taken apart")

def command():
    sys.modules["slow"] = Slow()
    atexit.register(print, "done at the end")
    print("told")
    {end}

{how}
"""
ENDS = [
    "",
    "sys.exit(3)",
    "sys.exit('a sentence')",
    "raise KeyError('a')",
    "raise KeyboardInterrupt",
]


def ended(end: str, how: str, out: Any = subprocess.PIPE) -> tuple[int, str, str]:
    code = CODE.format(end=end, how=how)
    told: dict[str, Any] = {"stdout": out, "stderr": subprocess.PIPE, "text": True}
    with true_starts():
        done = subprocess.run([sys.executable, "-c", code], **told)
    return done.returncode, done.stdout or "", done.stderr.split("\n")[-2] if done.stderr else ""


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_python_does_but_for_what_is_taken_apart(end: str) -> None:
    code, out, error = ended(end, "command()")
    assert "told\n" in out and out.endswith("done at the end\ntaken apart\n")
    interrupted = code == -signal.SIGINT
    whole = out if interrupted else out.removesuffix("taken apart\n")
    assert ended(end, "leave_after(command)") == (code, whole, error)


def test_what_cannot_be_told_is_said_as_python_does() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full: not on this machine")
    with Path("/dev/full").open("w") as full:
        code, _, error = ended("", "leave_after(command)", full)
        assert (code, error) == ended("", "command()", full)[::2] and "No space left" in error
