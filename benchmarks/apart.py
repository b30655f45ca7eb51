"""A side of a comparison in a process of its own: memory that one leaves is no other's."""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

from benchmarks.our_side import now, quiet


class Apart:
    """A process that makes an object and calls its methods; it ends with the ``with`` block.

    Args:
        kind: Of the object.
        arguments: Of its constructor.
        variables: Of the process's environment, beside what there is.
        named: More arguments.
    """

    def __init__(
        self, kind: type, *arguments: Any, variables: Mapping[str, str] | None = None, **named: Any
    ) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._line, theirs = spawn.Pipe()
        told = multiprocessing.get_start_method(), kind, arguments, named
        self._process = spawn.Process(target=_serve, args=(theirs, *told))
        with patch.dict(os.environ, variables or {}):
            self._process.start()
        theirs.close()
        self._line.recv()  # it is ready

    def timed(self, method: str, *arguments: Any) -> Callable[[], float]:
        """A way to call a method there: it returns the seconds that the method took.

        Raises:
            EOFError: The process has ended; it says why.
        """

        def way() -> float:
            self._line.send((method, arguments))
            return float(self._line.recv())

        return way

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._line.close()
        self._process.join()


def _serve(
    line: Connection, method: str, kind: type, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    # Its workers are to start as they do by default, and not as it was started itself.
    multiprocessing.set_start_method(method, force=True)
    with quiet(), suppress(EOFError):
        side = kind(*arguments, **named)
        line.send("ready")
        while True:
            name, told = line.recv()
            start = now()
            getattr(side, name)(*told)
            line.send(now() - start)
