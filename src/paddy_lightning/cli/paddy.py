"""The command ``paddy``: finds which of its commands is meant, and hands it its words."""

import sys

from paddy_lightning.cli.commands import COMMANDS, overview
from paddy_lightning.cli.leave import leave_after
from paddy_lightning.errors import nearest


def main() -> None:
    """``paddy COMMAND [knob=value ...]``, or ``python -m paddy_lightning COMMAND ...``.

    Raises:
        SystemExit: 2 where there is no such command; as ``run_command``.
    """
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(overview())
    elif name == "--version":
        from paddy_lightning import __version__

        print(__version__)
    elif name not in COMMANDS:
        known = ", ".join(COMMANDS)
        told = f"{name}: no such command (there is {known}){nearest(name, COMMANDS)}"
        print(f"error: {told}", file=sys.stderr)
        sys.exit(2)
    else:
        from paddy_lightning.cli.command_line import run_command  # with Hydra

        run_command(name, words)


def script() -> None:
    """``main``, as the whole of a process."""
    leave_after(main)
