"""Who is heard: a Python user without any logging, and nobody twice; all is left as it was."""

import logging
import os
import pkgutil
import random
import runpy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import paddy_lightning
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict
from paddy_lightning.quiet import SEEDS, TALKERS, heard
from paddy_lightning.training.check import check
from paddy_lightning.training.train import find_lr, train

log = logging.getLogger("paddy_lightning.training.train")


@contextmanager
def unconfigured() -> Iterator[None]:
    """Logging as it is when Python starts; pytest's own handlers aside."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_python_user_sees_progress(capsys: pytest.CaptureFixture[str]) -> None:
    @heard()
    def train() -> None:
        log.info("epoch 1/3")
        with heard():  # as predict in train
            log.info("epoch 2/3")

    with unconfigured():
        train()
        train()
    assert capsys.readouterr().out == "epoch 1/3\nepoch 2/3\n" * 2
    ours = logging.getLogger("paddy_lightning")
    assert not ours.handlers and ours.level == logging.NOTSET


def test_who_has_configured_logging_gets_what_he_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("WORLD_SIZE", "2"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    with unconfigured():
        with heard():
            log.info("of the second of two devices")
        monkeypatch.delenv("TORCHELASTIC_RUN_ID")
        logging.basicConfig(level=logging.WARNING, format="mine: %(message)s")
        with heard():
            log.info("epoch 1/3")
            log.warning("careful")
    said = capsys.readouterr()
    assert said.out == "" and said.err == "mine: careful\n"


@pytest.mark.parametrize("begin", [train, find_lr])
def test_what_is_called_from_python_is_heard(
    begin: Callable[[TrainConfig], object],
    stripes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As far as the first line."""

    def stop(*_: object) -> None:
        raise UserError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paddy_lightning.training.train.split_readable", stop)
    data = DataConfig(Source.folder, str(stripes / "train_images"))
    with unconfigured(), pytest.raises(UserError):
        begin(TrainConfig(data, arch="resnet10t", weights="none"))
    assert capsys.readouterr().out.startswith("data: folder in ")


def global_state() -> dict[str, Any]:
    """All that a library should leave alone in somebody's process."""
    names = ("", "paddy_lightning", *TALKERS)  # libraries bring more as they are imported
    return {
        "filters": list(warnings.filters),
        "levels": {name: logging.getLogger(name).level for name in names},
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[union-attr, index, call-overload]
        "python": random.getstate(),
        "seeds": [os.environ.get(name) for name in SEEDS],
        "largest picture": Image.MAX_IMAGE_PIXELS,
        "directory": Path.cwd(),
    }


def small(root: Path, **knobs: Any) -> TrainConfig:
    sizes = {"presize": "48x40", "size": "40x32", "epochs": 1, "freeze_epochs": 0}
    own = {"arch": "mobilenetv3_small_050", "weights": "none", "num_workers": 0, "batch_size": 16}
    return TrainConfig(DataConfig(root=str(root)), **{**sizes, **own, **knobs})


def test_a_call_leaves_the_process_as_it_was(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SEEDS[0], "7")
    monkeypatch.delenv(SEEDS[1], raising=False)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    before = global_state()
    train(small(stripes / "train_images"), tmp_path / "run")
    assert global_state() == before
    predict(tmp_path / "run", stripes / "test_images")
    assert global_state() == before
    find_lr(small(stripes / "train_images"), tmp_path / "found")
    assert global_state() == before
    check(small(stripes, trainer={"gradient_clip_val": 1.0}))
    assert global_state() == before
    with pytest.raises(UserError, match="holds a run already"):
        train(small(stripes / "train_images"), tmp_path / "run")
    assert global_state() == before


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_importing_leaves_the_process_as_it_was() -> None:
    """Every module once more, now that the libraries below are there."""
    found = pkgutil.walk_packages(paddy_lightning.__path__, "paddy_lightning.")
    names = [module.name for module in found if not module.ispkg]
    assert len(names) > 40
    for name in names:
        import_module(name)
    before = global_state()
    for name in names:
        runpy.run_module(name, run_name="once_more", alter_sys=True)
    assert global_state() == before
