"""What is said: our own lines, and of the libraries below the warnings, but no small talk."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from paddy_lightning.ranks import local_rank

SMALL_TALK = (
    r".*does not have many workers.*",
    r".*exists and is not empty.*",  # a run folder has Hydra's files before it has ours
    r".*number of training batches.*is smaller than the logging interval.*",
    r".*checkpoint that ended before the epoch ended.*",  # other batches a step; ours are whole
    r".*sync_dist=True.*",  # torchmetrics has synchronised what is logged
    r".*`broadcast_buffers` is deprecated.*",
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 on torch 2.15
)


def leave_out_small_talk() -> None:
    """Once before Lightning or timm speak."""
    for name in ("pytorch_lightning", "lightning_fabric", "timm", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for about in SMALL_TALK:
        warnings.filterwarnings("ignore", about)


@contextmanager
def heard() -> Iterator[None]:
    """Print the lines of this package while it works where nobody has configured any logging.

    As in a notebook; under Hydra, or after ``logging.basicConfig``, they go where they are sent.
    """
    ours = logging.getLogger("paddy_lightning")
    if ours.hasHandlers() or local_rank():
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
