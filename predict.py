"""Predict: python predict.py ckpt=RUN images=FOLDER tta=true; the same as paddy predict."""

import sys
from functools import partial

from paddy_lightning.cli.command_line import run_command
from paddy_lightning.cli.leave import leave_after

if __name__ == "__main__":
    leave_after(partial(run_command, "predict", sys.argv[1:]))
