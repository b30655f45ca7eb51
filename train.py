"""Train: python train.py data=folder data.root=PICTURES; the same as paddy train."""

import sys

from paddy_lightning.cli.command_line import run_command

if __name__ == "__main__":
    run_command("train", sys.argv[1:])
