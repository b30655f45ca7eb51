"""A process that comes late to where a run would begin, and what tells it to."""

from pathlib import Path

CODE = """
import os, sys, time

class Late:
    def find_spec(self, name, *_):
        which = os.environ.get("RANK", "alone")
        if name == "paddy_lightning.training.train" and which == os.environ["LATE"]:
            print("late", flush=True)
            time.sleep(600)

sys.meta_path.insert(0, Late())
"""


def coming_late(which: str, modules: Path) -> dict[str, str]:
    """Environment variables for a true start.

    Args:
        which: The rank, or "alone".
        modules: A new folder, for what Python finds as it starts.
    """
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(CODE)
    return {"PYTHONPATH": str(modules), "LATE": which}
