"""Python, started once and forked for every script: what is slow to import is imported once.

A server process imports torch and its like, nothing of ours, and runs no tensor, so that it has one
thread. For every script it forks a process with an argv, folder, environment, limits, pipes and
session of its own. That becomes a child of the process that asked, since Linux lets a process adopt
orphans: ``subprocess`` waits for it, signals and kills it like any other. What such a process
starts in turn is forked by a server of its own.

True starts are those within ``true_starts()``, of other modules (``python -m``), and with a
variable that Python or a library reads when it starts.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NoReturn

SLOW = (
    *("torch.utils.tensorboard", "torchvision", "pytorch_lightning", "torchmetrics", "timm"),
    *("kornia.augmentation", "captum.attr", "pandas", "scipy.stats", "imagehash", "tabulate"),
    *("sklearn.metrics", "sklearn.model_selection", "matplotlib.backends.backend_agg", "hydra"),
    *("hydra._internal.hydra", "requests", "kagglesdk.kaggle_client", "huggingface_hub"),
    *("safetensors.torch", "yaml"),
)
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "HF_", "CUDA_", "MKL_", "OMP_", "MPL")
TAKEN_UP = {"PYTHONPATH", "OMP_NUM_THREADS"}  # of those, by a forked process
OURS = "paddy_lightning"
SET_CHILD_SUBREAPER = 36  # of prctl: adopt the orphans below
MESSAGE = 64  # bytes; a request is in a file that comes with it
START_NEW_SESSION = -2  # its place among the arguments of _execute_child
LIMITS = {value for name, value in vars(resource).items() if name.startswith("RLIMIT_")}
TruePopen = subprocess.Popen


class Popen(TruePopen):  # type: ignore[type-arg]
    """``subprocess.Popen`` that forks scripts where that makes no difference but in time."""

    server: ClassVar[socket.socket | None] = None
    _asking: ClassVar[threading.Lock] = threading.Lock()

    def _execute_child(self, args: Any, *told: Any) -> None:
        _, preexec_fn, _, pass_fds, cwd, env, _, _, shell, *pipes = told
        words = [] if isinstance(args, (str, bytes)) else [os.fsdecode(word) for word in args]
        environment = {os.fsdecode(k): os.fsdecode(v) for k, v in (env or os.environ).items()}
        odd = preexec_fn or pass_fds or shell or not _is_script(words)
        if odd or not _starts_alike(environment):
            super()._execute_child(args, *told)  # type: ignore[misc]
            return
        ends = pipes[:6]  # in, out and err, each to read and to write
        streams = [
            end if end != -1 else number for number, end in enumerate((ends[0], ends[3], ends[5]))
        ]
        request = {
            "argv": words[1:],
            "environ": environment,
            "session": bool(told[START_NEW_SESSION]),
            "asker": os.getpid(),
            "limits": {number: resource.getrlimit(number) for number in LIMITS},
        }
        try:
            self.pid = self._fork(request, Path(cwd or "."), streams)
        finally:
            self._close_pipe_fds(*ends)  # type: ignore[attr-defined]
        self._child_created = True

    def _fork(self, request: dict[str, Any], folder: Path, streams: list[int]) -> int:
        """Have a process forked; its number."""
        written = os.memfd_create("request")
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.write(written, json.dumps(request).encode())
            with self._asking:
                Popen.server = server = self.server or start_server()
                socket.send_fds(server, [b"."], [written, opened, *streams])
                return int(server.recv(MESSAGE))
        finally:
            os.close(written)
            os.close(opened)


def install() -> None:
    """Let ``subprocess`` fork; on Linux, that is."""
    if sys.platform.startswith("linux"):
        subprocess.Popen = Popen  # type: ignore[misc]


@contextmanager
def true_starts() -> Iterator[None]:
    """What the block starts, and what that starts, is started as a user starts it."""
    installed, subprocess.Popen = subprocess.Popen, TruePopen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = installed  # type: ignore[misc]


def start_server() -> socket.socket:
    """Start what forks, with a line to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno())]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()
    adopt_orphans()
    return ours


def adopt_orphans() -> None:
    """Become the parent of processes below whose own is gone."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _is_script(words: list[str]) -> bool:
    """``python FILE.py ...``, ``python -c CODE ...`` or ``python -m paddy_lightning ...``."""
    if len(words) < 2 or words[0] != sys.executable:
        return False
    ours = words[1:3] == ["-m", OURS]
    return ours or words[1].endswith(".py") or (words[1] == "-c" and len(words) > 2)


def _starts_alike(environment: dict[str, str]) -> bool:
    """Whether Python and the libraries would start as the server did."""

    def read(variables: Any) -> dict[str, str]:
        named = {name for name in variables if name.startswith(READ_AT_START)} - TAKEN_UP
        return {name: variables[name] for name in named}

    return read(environment) == read(os.environ)


def serve(requests: socket.socket) -> None:
    """Fork for every request, until nobody can ask any more; returns in the forked processes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # those of its group are not for the server
        signal.signal(number, signal.SIG_IGN)
    while True:
        _, received, _, _ = socket.recv_fds(requests, MESSAGE, 5)
        if not received:
            os._exit(0)
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)  # so that the one below is an orphan, for the asker to adopt
            become(requests, *received)
            return
        os.waitpid(between, 0)
        for descriptor in received:
            os.close(descriptor)


def become(requests: socket.socket, written: int, folder: int, *streams: int) -> None:
    """Turn a forked process into the one that was asked for, ready to run its script."""
    request = json.loads(os.pread(written, os.fstat(written).st_size, 0))
    while os.getppid() != request["asker"]:
        time.sleep(0.0002)
    if request["session"]:
        os.setsid()
    requests.send(str(os.getpid()).encode())
    requests.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:  # the server of what this one will start
        ours.close()
        for descriptor in (written, folder, *streams):
            os.close(descriptor)
        serve(theirs)
        return
    theirs.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.fchdir(folder)
    for descriptor in (written, folder, *streams):
        os.close(descriptor)
    for number, limit in request["limits"].items():
        resource.setrlimit(int(number), limit)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    take_up(request["argv"], request["environ"])
    adopt_orphans()
    Popen.server = ours
    install()


def take_up(argv: list[str], environment: dict[str, str]) -> None:
    """What Python reads when it starts: its words, variables and path."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    first = "" if argv[0] in ("-c", "-m") else str(Path(argv[0]).resolve().parent)
    told = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [first, *filter(None, told), *sys.path]
    importlib.invalidate_caches()
    if any(Path(place, "sitecustomize.py").is_file() for place in filter(None, told)):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if threads := environment.get("OMP_NUM_THREADS"):
        sys.modules["torch"].set_num_threads(int(threads))


def main() -> None:
    """Serve; in a forked process, run what it was forked for, as Python would."""
    own = {__file__, str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(":")}
    for name in SLOW:
        importlib.import_module(name)
    sys.path[:] = [place for place in sys.path if place not in own]
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "threads do not survive a fork"
    gc.freeze()  # or every forked process would copy all of it at its first collection
    serve(socket.socket(fileno=int(sys.argv[1])))
    leave(run_script())


def run_script() -> int:
    """Run what a process was forked for, as Python would; its exit code."""
    try:
        if sys.argv[0] == "-c":
            code, sys.argv = sys.argv[1], ["-c", *sys.argv[2:]]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        elif sys.argv[0] == "-m":
            sys.argv = sys.argv[1:]
            runpy.run_module(OURS, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """Do what Python does at the end, but for clearing away what was imported."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
