"""Train: python train.py data=folder data.root=PICTURES; the same as paddy train."""

import sys
from functools import partial

from paddy_lightning.cli.command_line import run_command
from paddy_lightning.cli.leave import leave_after

if __name__ == "__main__":
    leave_after(partial(run_command, "train", sys.argv[1:]))
