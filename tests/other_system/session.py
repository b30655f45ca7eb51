"""Every module imported, and what a user types from a survey to a comparison, in one process.

``session.py DATA``, with the environment that ``sitecustomize.py`` asks for.
"""

import importlib
import json
import os
import pkgutil
import sys
import threading
import time
from _thread import interrupt_main
from pathlib import Path

import paddy_lightning
from paddy_lightning.cli.paddy import main
from paddy_lightning.data.demo import generate

SMALL = (
    *("arch=mobilenetv3_small_050", "weights=none", "presize=48x40", "size=40x32", "lr=1e-2"),
    *("freeze_epochs=1", "batch_size=16", "cache=kept"),
)


REFUSED = (
    ("import fcntl", ImportError),
    ("from os import preadv", ImportError),
    ("import signal; signal.SIGKILL", AttributeError),
    ("import os; os.fork()", AttributeError),
    ("import os; os.kill(os.getpid(), 0)", OSError),
    ("import os; os.open('.', os.O_RDONLY)", PermissionError),
    ("open('a.txt').close()", EncodingWarning),
    ("from pathlib import Path; Path('a.txt').read_text()", EncodingWarning),
    ("from pathlib import Path; Path('a.txt').unlink()", PermissionError),
    ("from pathlib import Path; Path('b.txt').replace('a.txt')", PermissionError),
    ("from pathlib import Path; Path('b.txt').symlink_to('a.txt')", OSError),
    ("from pathlib import Path; Path('12:00').mkdir()", OSError),
)  # of our modules, on Windows


def see_that_it_is_refused() -> None:
    """Or all that follows would prove nothing."""
    Path("b.txt").touch()
    with Path("a.txt").open("w", encoding="utf-8"):
        for code, error in REFUSED:
            try:
                exec(code, {"__name__": "paddy_lightning.any"})
            except error:
                continue
            raise AssertionError(code)


def typed(*words: str) -> int | str | None:
    """``paddy`` with these words; how it ends."""
    before = dict(os.environ)
    sys.argv = ["paddy", *words]
    print(">", *words, flush=True)
    try:
        main()
    except SystemExit as end:
        return end.code
    finally:
        os.environ.clear()
        os.environ.update(before)
    return 0


def interrupted_after(file: Path) -> None:
    """Ctrl-C, once a file is there."""
    while not file.exists():
        time.sleep(0.01)
    interrupt_main()


def session(data: str) -> None:
    """What a user types, a run that is interrupted among it."""
    assert typed("survey", data, "cache=kept") in (0, 1)
    assert typed("train", data, "arch=none_such") == 1
    assert not list(Path("outputs").glob("20*"))  # what Hydra wrote is gone
    last = Path("a", "checkpoints", "last.ckpt")
    threading.Thread(target=interrupted_after, args=(last,), daemon=True).start()
    assert typed("train", data, *SMALL, "epochs=4", "num_workers=2", "hydra.run.dir=a") == 130
    assert typed("train", "resume=a", "num_workers=0") == 0
    assert typed("train", data, *SMALL, "epochs=1", "seed=1", "hydra.run.dir=b") == 0
    assert typed("predict", "ckpt=a", "tta=true") == 0
    assert typed("interpret", "run=a") == 0
    assert typed("compare", "runs=[a,b]") == 0
    assert typed("bundle", "run=a") == 0
    assert json.loads(Path("a", "summary.json").read_text("utf-8"))["status"] == "done"


if __name__ == "__main__":
    for module in pkgutil.walk_packages(paddy_lightning.__path__, "paddy_lightning."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    if os.environ["OTHER_SYSTEM"] == "win32":
        see_that_it_is_refused()
    generate("drawn", 10, 2)  # by several processes
    session(f"data.root={sys.argv[1]}")
