"""Who is heard: a Python user without any logging, and nobody twice."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paddy_lightning.config import DataConfig, Source, TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.quiet import heard
from paddy_lightning.training import find_lr, train

log = logging.getLogger("paddy_lightning.training")


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
    monkeypatch.setenv("PADDY_DEVICES", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with unconfigured():
        with heard():
            log.info("of the second of two devices")
        monkeypatch.delenv("PADDY_DEVICES")
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
    monkeypatch.setattr("paddy_lightning.training.split_readable", stop)
    data = DataConfig(Source.folder, str(stripes / "train_images"))
    with unconfigured(), pytest.raises(UserError):
        begin(TrainConfig(data, arch="resnet10t", weights="none"))
    assert capsys.readouterr().out.startswith("data: folder in ")
