"""How often a sweep of four jobs decodes each file."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.pictures import pictures

COUNTING = """
import os
from PIL import ImageFile

load = ImageFile.ImageFile.load

def counted(self):
    name = str(getattr(self, "filename", ""))
    if self.tile and name.startswith(os.environ["COUNTED"]):
        with open(os.environ["DECODES"], "a") as file:
            print(name, file=file)
    return load(self)

ImageFile.ImageFile.load = counted
"""


def decodes() -> tuple[int, int, int]:
    """Of a sweep over two archs and two sizes: the files, and the least and most decodes of one."""
    root = pictures().absolute()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(COUNTING)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]),
            "COUNTED": str(root),
            "DECODES": f"{folder}/decodes",
        }
        words = ["arch=mobilenetv3_small_050,resnet10t", "size=64x48,48", "presize=96"]
        words += ["data=folder", f"data.root={root}", "weights=none", "epochs=1"]
        words += [f"cache={folder}/cache", f"hydra.sweep.dir={folder}/sweep"]
        command = [sys.executable, "train.py", "-m", *words]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        counts = Counter(Path(folder, "decodes").read_text().splitlines())
    return len(counts), min(counts.values()), max(counts.values())
