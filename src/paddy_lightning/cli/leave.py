"""A command's process ends at once: Python takes a second or two to take torch and timm apart."""

import atexit
import os
import sys
from collections.abc import Callable


def leave_after(command: Callable[[], None]) -> None:
    """Run a command as the whole of a process, which ends with it.

    What it registers to be done at the end is done, and the exit code is the same. Only the modules
    are not taken apart, one by one: the system takes them back faster.
    """
    code = 1  # of a traceback

    def leave() -> None:
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        except (OSError, ValueError):
            return  # closed or full: Python has an exit code for that
        os._exit(code)

    atexit.register(leave)  # before all others, since the last one registered is the first called
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except KeyboardInterrupt:
        atexit.unregister(leave)  # Python ends by the signal itself
        raise
    code = 0
