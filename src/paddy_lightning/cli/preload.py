"""What a sweep's jobs are forked with: imported in the process that forks them, and nowhere else.

Imports alone: no tensor is computed and no device is asked for, neither of which survives a fork.
"""

import atexit
import gc
from importlib import import_module

SLOW = (
    *("torch.utils.tensorboard", "pytorch_lightning", "timm", "pandas"),
    *("matplotlib.backends.backend_agg", "captum.attr"),
    *("paddy_lightning.cli.command_line", "paddy_lightning.training.train"),
)

for name in SLOW:
    import_module(name)
gc.freeze()  # or every job would copy all of it at its first collection
atexit.register(gc.unfreeze)  # else libraries complain at the end of what they could not clear
