"""``python -m benchmarks.bean FOLDER bean``: the 390 photos of README's comparison.

They are found below FOLDER by what is in them, and get the names by which they were split.
"""

import hashlib
import shutil
import sys
from pathlib import Path

LIST = Path(__file__).with_suffix(".sha256")  # as sha256sum writes it


def pick(folder: Path, target: Path) -> None:
    """Copy the photos of the list from wherever they lie below ``folder`` to ``target``.

    Raises:
        SystemExit: Some are not there.
    """
    names = dict(line.split("  ") for line in LIST.read_text().splitlines())
    for file in sorted(folder.rglob("*.jpg")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if name := names.pop(digest, None):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / name)
    if names:
        sys.exit(
            f"{folder}: {len(names)} of the photos are not there, such as {min(names.values())}"
        )


if __name__ == "__main__":
    pick(Path(sys.argv[1]), Path(sys.argv[2]))
