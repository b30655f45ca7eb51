"""Imports without Python's search for cycles, and without a compiler that nobody has asked for."""

import gc
import subprocess
import sys

from forks import true_starts

from paddy_lightning.importing import importing

LATER = """
import sys
from paddy_lightning.importing import compiler_later

def loaded():
    return "torch._dynamo" in sys.modules

with compiler_later():
    import timm
    import torch
    import torchvision
from timm.layers import disable_compiler

@disable_compiler
def left_alone(x):
    return x - 1 if torch.compiler.is_compiling() else x + 1

print(loaded(), left_alone(torch.zeros(1)).item(), end=" ")
compiled = torch.compile(lambda x: left_alone(x) + torch.compiler.is_compiling(), backend="eager")
print(loaded(), compiled(torch.zeros(1)).item(), torch.compiler.disable.__module__, end=" ")
question = sys.modules["torchvision.ops.roi_align"].is_compile_supported
print(question("cpu") == sys.modules["torch._dynamo.utils"].is_compile_supported("cpu"))
"""
AT_ONCE = """
from paddy_lightning.importing import compiler_later

with compiler_later():
    from torch._dynamo import OptimizedModule
    from torch._dynamo.utils import is_compile_supported
    import timm
    with compiler_later():
        pass
print(is_compile_supported.__module__, OptimizedModule.__module__)
"""


def test_imports_are_not_searched_for_cycles() -> None:
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def told_by(code: str) -> list[str]:
    """What code prints as the whole of a process."""
    with true_starts():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_compiler_is_loaded_when_it_is_asked_for_and_leaves_alone_what_it_should() -> None:
    """``left_alone`` is not compiled, its caller is."""
    assert told_by(LATER) == ["False", "1.0", "True", "2.0", "torch.compiler", "True"]


def test_the_compiler_can_be_imported_all_the_same() -> None:
    assert told_by(AT_ONCE) == ["torch._dynamo.utils", "torch._dynamo.eval_frame"]
