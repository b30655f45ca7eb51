"""What a sweep's jobs are forked with: imported in the process that forks them, and nowhere else.

Imports alone: no tensor is computed and no device is asked for, neither of which survives a fork.
"""

import atexit
import gc
import os
import signal
from importlib import import_module

from paddy_lightning.importing import importing

SLOW = (
    *("torch", "timm", "pytorch_lightning", "pandas", "torch.utils.tensorboard"),
    *("matplotlib.backends.backend_agg", "captum.attr"),
    *("paddy_lightning.cli.command_line", "paddy_lightning.training.train"),
)
OWN, SWEEP = os.getpid(), os.getppid()


def leave() -> None:
    """End at once, for which Python itself needs seconds: whoever reads what jobs say waits."""
    if os.getpid() == OWN:  # and not in a job
        os._exit(0)


signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep; each job has its own way
with importing():
    for name in SLOW:
        if os.getppid() != SWEEP:  # it was refused
            os._exit(0)
        import_module(name)
gc.freeze()  # or every job would copy all of it at its first collection
atexit.register(leave)
