"""Commands of ours as forks of a process that has imported what is slow, once for a whole sweep."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from paddy_lightning.cli.children import command_again

PACKAGE = "paddy_lightning"
GRACE = 10  # seconds


class Job(Protocol):
    """A process of its own; as ``subprocess.Popen``."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; the number of a signal that ended it is negative."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM."""
        ...


def can_fork() -> bool:
    """Whether jobs are forks.

    macOS' own libraries do not survive a fork, and Windows has none. Children of joblib's workers
    would be told to start as those were.
    """
    return sys.platform == "linux" and multiprocessing.parent_process() is None


def prepare() -> None:
    """Let the process that jobs are forked from begin to import, while we go on."""
    if can_fork():
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload([f"{PACKAGE}.cli.preload"])
        forkserver.ensure_running()


def start(name: str, words: list[str], environment: Mapping[str, str]) -> Job:
    """Start a command of ``paddy``: as a fork, which imports nothing anew, or else a new Python."""
    if can_fork():
        return Forked([name, *words], environment)
    return subprocess.Popen([*command_again(name), *words], env=dict(environment))


def end_child(job: Job) -> None:
    """Wait for an interrupted job, and tell it where only we have been told.

    Ctrl-C on a terminal reaches the job as well; a signal sent to this process does not.
    """
    try:
        job.wait(GRACE)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.wait()


class Forked:
    """A fork of the process that ``prepare`` has started.

    Args:
        words: Of the command line.
        environment: All variables.
    """

    def __init__(self, words: list[str], environment: Mapping[str, str]) -> None:
        context: Any = multiprocessing.get_context("forkserver")  # Windows has none
        self._process: Any = context.Process(target=run, args=(words, dict(environment)))
        self._process.start()

    def wait(self, timeout: float | None = None) -> int:
        """As ``Job``.

        Raises:
            TimeoutExpired: It goes on.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(PACKAGE, timeout or 0)
        return int(self._process.exitcode)

    def terminate(self) -> None:
        """As ``Job``."""
        self._process.terminate()


def run(words: list[str], environment: dict[str, str]) -> None:
    """What ``python -m paddy_lightning WORDS`` runs."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-m", *words]
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
