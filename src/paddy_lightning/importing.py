"""Slow imports, without what takes half of their time and is of no use to us."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

QUESTION = "torch._dynamo.utils", "is_compile_supported"


@contextmanager
def importing() -> Iterator[None]:
    """Without Python's search for cycles: imports make a million objects, and they stay."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            if gc.get_freeze_count():  # as run_task does: the process is ours
                gc.freeze()
            gc.enable()


@contextmanager
def compiler_later() -> Iterator[None]:
    """Without torch's compiler, for torchvision and timm; it is loaded once it is asked for.

    torchvision imports one question to it, and timm tells it which functions it should leave
    alone; it does, as torch marks its own such functions: when they are called first.
    """
    import torch

    module, _ = QUESTION
    if module in sys.modules:
        yield
        return
    disable = torch.compiler.disable
    torch.compiler.disable = _disable  # type: ignore[assignment]
    sys.modules[module] = stands_in = _StandsIn(module)
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(module) is stands_in:
            del sys.modules[module]


class _StandsIn(ModuleType):
    """For a module, until something else of it than the question is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name == QUESTION[1]:
            return _ask
        if name.startswith("__"):  # asked by Python as it imports
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def _ask(device_type: str) -> bool:
    module, question = QUESTION
    return getattr(import_module(module), question)(device_type)


def _disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """As ``torch.compiler.disable``, of functions later."""
    if fn is None or isinstance(fn, FunctionType):
        from torch._compile import _disable_dynamo

        return _disable_dynamo(fn, recursive)
    import torch._dynamo

    return torch._dynamo.disable(fn, recursive, reason=reason)
