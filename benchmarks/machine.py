"""What is measured on."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
CORES = len(os.sched_getaffinity(0))
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "timm", "kornia", "fastai", "pillow")


def has_fastai() -> bool:
    """Whether there is one to measure against."""
    return find_spec("fastai") is not None


def machine(precisions: Iterable[str]) -> str:
    """The date, the machine, the precisions and the versions, as a sentence."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in PACKAGES if name != "fastai" or has_fastai()
    )
    return (
        f"{date.today()}, {CORES} cores, {_gpu() if CUDA else _processor()},"
        f" {' and '.join(precisions)}; Python {platform.python_version()}, {packages}."
    )


def _gpu() -> str:
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(ask[0]):
        told = subprocess.run(ask, capture_output=True, text=True).stdout.split()
        return f"{torch.cuda.get_device_name()} (driver {', '.join(sorted(set(told)))})"
    return torch.cuda.get_device_name()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.machine()])[0]
