"""Which of several processes of one training this one is; ``launch.py`` starts them.

What processes of ours tell those they start, in environment variables.
"""

import os

from paddy_lightning.errors import UserError

COMMAND = "PADDY_COMMAND"  # what was typed
DEVICES = "PADDY_DEVICES"  # how many ranks there are
LOCAL_RANK = "LOCAL_RANK"  # which of them this process is; Lightning's name
WORLD_SIZE = "WORLD_SIZE"  # how many processes there are; torchrun's name


def local_rank() -> int | None:
    """Which of several ranks this process is; None where it is alone."""
    return int(os.environ[LOCAL_RANK]) if DEVICES in os.environ else None


def refuse_torchrun() -> None:
    """Refuse to be one of several equal processes, each of which would be a whole training.

    Raises:
        UserError: torchrun has started several.
    """
    several = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get(WORLD_SIZE, "1") != "1"
    if several and local_rank() is None:
        raise UserError(
            "torchrun: paddy train starts a process for each device by itself; run it as"
            f" paddy train trainer.devices={os.environ[WORLD_SIZE]}"
        )
