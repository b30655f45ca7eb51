"""Predict: python predict.py ckpt=RUN images=FOLDER tta=true; the same as paddy predict."""

import sys

from paddy_lightning.cli.command_line import run_command

if __name__ == "__main__":
    run_command("predict", sys.argv[1:])
