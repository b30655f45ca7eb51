"""Lets Linux refuse to our modules what Windows or macOS would, in every process below.

Python imports this before all else where its folder is on ``PYTHONPATH``; ``OTHER_SYSTEM`` says
which system is meant, ``OTHER_PLACE`` the folder to work in.

- Modules and functions that are not there are not there for our modules. Other packages keep them:
  they know the systems by themselves, and on Linux need what Linux has.
- Nobody can fork; processes are spawned.
- On Windows, our modules can neither remove, rename nor replace what any process has open or
  mapped, open no folder, link nothing and ask for no process by signal 0; and nobody can make a
  name with what Windows has no letter for.
- A text file that one of ours opens without its encoding is an error, given
  ``-X warn_default_encoding``.

What it cannot show: torch, Lightning, Hydra and filelock themselves on these systems, paths with
backslashes, names that differ in case alone, consoles, Ctrl-C from one.
"""

import builtins
import multiprocessing
import os
import re
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

WINDOWS, MACOS = "win32", "darwin"
SYSTEM, PLACE = os.environ["OTHER_SYSTEM"], os.environ["OTHER_PLACE"]
OURS = "paddy_lightning"
PASSED_THROUGH = {
    "pathlib",
    "pathlib._local",
    "pathlib._abc",
    "os",
    "shutil",
    "contextlib",
    "tempfile",
    __name__,
}  # to who asks
MODULES = {
    WINDOWS: {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"},
    MACOS: {"spwd"},
}
ONLY_LINUX = {"sched_getaffinity", "sched_setaffinity", "memfd_create", "posix_fadvise", "O_DIRECT"}
ONLY_POSIX = {
    *("fork", "forkpty", "register_at_fork", "wait", "wait3", "wait4", "waitid", "killpg", "nice"),
    *("setsid", "getsid", "getpgid", "setpgid", "getuid", "geteuid", "getgid", "uname", "sysconf"),
    *("pread", "preadv", "pwrite", "pwritev", "readv", "writev", "sendfile", "statvfs", "fstatvfs"),
    *("chown", "fchown", "mkfifo", "mknod", "fdatasync", "sync", "lockf", "posix_fallocate"),
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_CLOEXEC", "WNOHANG", "getloadavg"),
}
WINDOWS_SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
FORBIDDEN = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE
)


class Poorer(ModuleType):
    """A module without some names, and with others."""

    def __init__(self, whole: ModuleType, lacking: set[str], **other: Any) -> None:
        super().__init__(whole.__name__)
        self.__dict__.update(_whole=whole, _lacking=lacking, **other)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_lacking"]:
            raise AttributeError(f"{SYSTEM} has no {self.__name__}.{name}")
        return getattr(self.__dict__["_whole"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_whole"], name, value)


def poorer() -> dict[str, ModuleType]:
    """What our modules get for what they import."""
    if SYSTEM == MACOS:
        return {"os": Poorer(os, ONLY_LINUX), "sys": Poorer(sys, set(), platform=MACOS)}
    signals = {n for n in dir(signal) if re.match("SIG[A-Z]", n)} - WINDOWS_SIGNALS
    timers = {"alarm", "setitimer", "pthread_kill", "siginterrupt", "pause"}
    return {
        "os": Poorer(os, ONLY_LINUX | ONLY_POSIX, name="nt"),
        "sys": Poorer(sys, set(), platform=WINDOWS),
        "signal": Poorer(signal, signals | timers),
    }


def import_for(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> ModuleType:
    """``__import__``, by who asks."""
    ours = level == 0 and str((globals or {}).get("__name__")).startswith(OURS)
    if ours and name in MODULES[SYSTEM]:
        raise ModuleNotFoundError(f"{SYSTEM} has no module {name}", name=name)
    found = true_import(name, globals, locals, fromlist, level)
    return POORER.get(found.__name__, found) if ours else found


def asked_by_us() -> bool:
    """Whether one of our modules does what is being audited."""
    frame = sys._getframe()
    while frame and frame.f_globals.get("__name__") in PASSED_THROUGH:
        frame = frame.f_back  # type: ignore[assignment]
    return bool(frame) and str(frame.f_globals.get("__name__")).startswith(OURS)


def is_open(path: str) -> bool:
    """Whether a process of this test has a file open or mapped, or one in that folder."""
    real = os.path.realpath(path)
    held: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # somebody else's, or gone
            if f"OTHER_PLACE={PLACE}".encode() not in (process / "environ").read_bytes():
                continue
            for link in (process / "fd").iterdir():
                with suppress(OSError):  # closed just now
                    held.append(str(link.readlink()))
            maps = (process / "maps").read_text("utf-8", errors="surrogateescape")
            held += [line.split(maxsplit=5)[-1] for line in maps.splitlines()]
    return any(name == real or name.startswith(f"{real}/") for name in held)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: what the other system does not do, is an error."""
    if event in ("os.fork", "os.forkpty"):
        raise RuntimeError(f"{SYSTEM} does not fork")
    if SYSTEM != WINDOWS or event not in AUDITED:
        return
    if event in ("open", "os.mkdir", "os.rename"):
        made = event != "open" or "r" not in (arguments[1] or "r")
        name = arguments[1] if event == "os.rename" else arguments[0]
        if made and not isinstance(name, int):
            refuse_name(os.path.abspath(os.fsdecode(name)))  # noqa: PTH100
    if not asked_by_us():
        return
    if event == "open" and not isinstance(arguments[0], int) and Path(arguments[0]).is_dir():
        raise PermissionError(13, "Windows opens no folder", arguments[0])
    if event == "os.kill" and arguments[1] == 0:
        raise OSError(22, "on Windows, this is Ctrl-C")
    if event in ("os.symlink", "os.link"):
        raise OSError(22, "A required privilege is not held by the client", arguments[1])
    if event in ("os.remove", "os.rename"):
        paths = arguments[: 1 if event == "os.remove" else 2]
        for path in map(os.fspath, paths):
            if is_open(os.fsdecode(path)):
                raise PermissionError(13, "is being used by a process", path)


def refuse_name(path: str) -> None:
    """Refuse what Windows has no name for, below the folder to work in."""
    if path.startswith(f"{PLACE}/"):
        for part in path.removeprefix(f"{PLACE}/").split("/"):
            if FORBIDDEN.search(part):
                raise OSError(22, "The filename, directory name, or volume label syntax", path)


AUDITED = {"open", "os.mkdir", "os.rename", "os.kill", "os.symlink", "os.link", "os.remove"}
POORER = poorer()
true_import, builtins.__import__ = builtins.__import__, import_for
multiprocessing.set_start_method("spawn")
warnings.filterwarnings("ignore", category=EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module=OURS)
sys.addaudithook(refuse)
