"""Small talk of the libraries below, left out; their real warnings stay."""

import logging
import warnings

SMALL_TALK = (
    r".*does not have many workers.*",
    r".*exists and is not empty.*",  # a run folder has Hydra's files before it has ours
    r".*number of training batches.*is smaller than the logging interval.*",
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
