"""What is said: our own lines, and of the libraries below the warnings, but no small talk.

Whatever a call changes for that, or for its random numbers, in a process that is somebody else's,
such as a notebook, is put back when it ends, and its memory is given back.
"""

import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from PIL.Image import DecompressionBombWarning

from paddy_lightning.memory import memory_kept
from paddy_lightning.ranks import rank

TALKERS = ("pytorch_lightning", "lightning_fabric", "timm", "matplotlib")
SMALL_TALK = (
    r".*does not have many workers.*",
    r".*exists and is not empty.*",  # a run folder has Hydra's files before it has ours
    r".*number of training batches.*is smaller than the logging interval.*",
    r".*checkpoint that ended before the epoch ended.*",  # other batches a step; ours are whole
    r".*sync_dist=True.*",  # torchmetrics has synchronised what is logged
    r".*`broadcast_buffers` is deprecated.*",
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 on torch 2.15
)


SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")  # environment variables that Lightning leaves


@contextmanager
def left_as_found() -> Iterator[None]:
    """Work as a guest: heard, without small talk, and all is as before at the end."""
    with heard(), small_talk_left_out(), generators_kept(), memory_kept():
        yield


@contextmanager
def small_talk_left_out() -> Iterator[None]:
    """While Lightning, timm or PIL may speak."""
    loggers = [logging.getLogger(name) for name in TALKERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for about in SMALL_TALK:
            warnings.filterwarnings("ignore", about)
        warnings.filterwarnings("ignore", category=DecompressionBombWarning)  # we refuse them
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the global random generators back: Python's, NumPy's and torch's, on all devices."""
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()
    seeds = {name: os.environ.get(name) for name in SEEDS}
    try:
        # Whoever has not imported torch has not seeded it, and its first seed is any.
        with _torchs_kept() if "torch" in sys.modules else nullcontext():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for name, seed in seeds.items():
            os.environ.pop(name, None)
            if seed is not None:
                os.environ[name] = seed


@contextmanager
def _torchs_kept() -> Iterator[None]:
    import torch

    # Asking a GPU that is not in use yet would take its memory.
    used = torch.cuda.is_initialized()
    apples = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if used else ()):
            yield
    finally:
        if torch.cuda.is_initialized() and not used:
            torch.cuda.manual_seed_all(torch.initial_seed())
        if apples is not None:
            torch.mps.set_rng_state(apples)


@contextmanager
def heard() -> Iterator[None]:
    """Print the lines of this package while it works where nobody has configured any logging.

    As in a notebook; under Hydra, or after ``logging.basicConfig``, they go where they are sent.
    """
    ours = logging.getLogger("paddy_lightning")
    if ours.hasHandlers() or rank():
        yield
        return
    handler, level = logging.StreamHandler(sys.stdout), ours.level
    ours.addHandler(handler)
    ours.setLevel(level or logging.INFO)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(level)
