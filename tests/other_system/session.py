"""Every module imported, and what a user types from a survey to a comparison, in one process."""

import importlib
import os
import pkgutil
import sys
import threading
import time
from _thread import interrupt_main
from pathlib import Path

import paddy_lightning
from paddy_lightning.cli.paddy import main

SMALL = (
    *("arch=mobilenetv3_small_050", "weights=none", "presize=48x40", "size=40x32", "lr=1e-2"),
    *("freeze_epochs=1", "batch_size=16", "cache=kept"),
)


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
    last = Path("a", "checkpoints", "last.ckpt")
    threading.Thread(target=interrupted_after, args=(last,), daemon=True).start()
    assert typed("train", data, *SMALL, "epochs=4", "num_workers=2", "hydra.run.dir=a") == 130
    assert typed("train", "resume=a", "num_workers=0") == 0
    assert typed("train", data, *SMALL, "epochs=1", "seed=1", "hydra.run.dir=b") == 0
    assert typed("predict", "ckpt=a", "tta=true") == 0
    assert typed("interpret", "run=a") == 0
    assert typed("compare", "runs=[a,b]") == 0


if __name__ == "__main__":
    for module in pkgutil.walk_packages(paddy_lightning.__path__, "paddy_lightning."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    session(f"data.root={sys.argv[1]}")
