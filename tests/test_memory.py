"""What tensors leave is used again while we work, and given back at the end."""

import os
import subprocess
import sys

import pytest

from paddy_lightning.memory import _glibc, memory_kept

CODE = """
import os, resource
from pathlib import Path

import torch
from paddy_lightning.memory import memory_kept

def pages():
    # Cleared by the system for ten tensors of 80 MB, each gone before the next.
    torch.ones(20_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

found = [pages()]
with memory_kept():
    with memory_kept():
        found.append(pages())
    found.append(pages())
    held = megabytes()
print(*found, held - megabytes())
"""


def measured(**variables: str) -> list[int]:
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


@pytest.fixture(autouse=True)
def _on_linux() -> None:
    if sys.platform != "linux" or _glibc() is None:
        pytest.skip("memory that is kept: this machine's allocator is not glibc's own")


def test_memory_is_cleared_once_and_given_back() -> None:
    before, inner, outer, given_back = measured()
    assert inner + outer < before / 2
    assert given_back >= 70


def test_who_has_set_up_the_allocator_is_left_alone() -> None:
    before, inner, outer, _ = measured(MALLOC_TRIM_THRESHOLD_="131072")
    assert inner + outer > before


def test_it_ends_with_an_error_too() -> None:
    for _ in range(2):
        with pytest.raises(KeyError), memory_kept():
            raise KeyError
