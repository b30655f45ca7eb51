"""Trained networks -> a folder with all that predicts in a notebook without internet.

``data/`` is to be a data set on Kaggle: the networks, this package, and what it needs and Kaggle's
image may lack. torch and whatever else is compiled is the image's own. ``predict.ipynb`` installs
from there, replacing nothing, and predicts the competition's test pictures.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from paddy_lightning.atomic import write_json, written_whole
from paddy_lightning.command_configs import BundleConfig
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.wheels import OWN, pack_wheel
from paddy_lightning.prediction.ensemble import check_members
from paddy_lightning.runs.run_folder import short_names
from paddy_lightning.runs.trained import load_checkpoint

log = logging.getLogger(__name__)
# Of pure Python, needed here, and not among what Colab had in August 2026, whose image Kaggle's is
# built on: https://github.com/googlecolab/backend-info. pip installs what is missing of them.
LACKING = (
    *("captum", "hydra-core", "imagehash", "kornia", "lightning-utilities", "pytorch-lightning"),
    "torchmetrics",
)
NOTEBOOK = "predict.ipynb"
MEGABYTE = 10**6
CELLS = (
    """from pathlib import Path

places = [Path("/kaggle/input"), Path("data")]
wheel = next(found for place in places for found in place.rglob("paddy_lightning-*.whl"))
bundle = wheel.parent
%pip install --quiet --no-index --find-links {bundle} paddy-lightning""",
    """ckpt = ",".join(str(path) for path in sorted(bundle.glob("*.ckpt")))
!paddy predict "ckpt=[{ckpt}]" tta=true output=.""",
)


def run_bundle(config: BundleConfig) -> Path:
    """``paddy bundle``: write the folder, and say how large it is.

    Returns:
        The folder.

    Raises:
        UserError: No such run, a folder that holds something else, or a package that cannot be
            packed.
    """
    runs = config.run if isinstance(config.run, list) else [config.run]
    if not all(runs):
        raise UserError("say which run, with run=RUN_FOLDER, or which, with run=[A,B]")
    if len(runs) > 1 and not config.output:
        raise UserError("several members: say where the bundle goes, with output=FOLDER")
    folder = Path(config.output or Path(runs[0], "bundle"))
    members = [load_checkpoint(run) for run in runs]
    check_members([one["hyper_parameters"] for one in members], [str(run) for run in runs])
    _clear(folder)
    names = [name.replace("/", "-") for name in short_names([Path(run) for run in runs])]
    for run, name in zip(map(Path, runs), names, strict=True):
        best = run / "checkpoints" / "best.ckpt" if run.is_dir() else run
        with written_whole(folder / "data" / f"{name.removesuffix('.ckpt')}.ckpt") as temporary:
            shutil.copyfile(best, temporary)
    for package in (OWN, *LACKING):
        pack_wheel(package, folder / "data")
    write_json(folder / NOTEBOOK, notebook())
    sizes = {path.name: path.stat().st_size for path in sorted((folder / "data").iterdir())}
    for name, size in sizes.items():
        log.info("%8.2f MB  %s", size / MEGABYTE, name)
    log.info(
        "%8.2f MB  in %s; paddy push bundle=%s sends it to Kaggle",
        sum(sizes.values()) / MEGABYTE,
        folder / "data",
        folder,
    )
    return folder


def notebook() -> dict[str, Any]:
    """What predicts there, as nbformat 4 has it."""
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    empty: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
    }
    cells = [{**empty, "source": cell} for cell in CELLS]
    return {
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
        "cells": cells,
    }


def _clear(folder: Path) -> None:
    """Make room for a bundle where there is nothing, or an earlier one.

    Raises:
        UserError: The folder holds something else.
    """
    data = folder / "data"
    theirs = [path for path in folder.glob("*") if path not in (data, folder / NOTEBOOK)]
    theirs += [path for path in data.glob("*") if path.suffix not in (".whl", ".ckpt")]
    if theirs or folder.is_file():
        what = theirs[0] if theirs else folder
        raise UserError(f"{what}: is no part of a bundle; choose another output=FOLDER")
    for path in data.glob("*"):
        path.unlink()
