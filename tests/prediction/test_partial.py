"""A folder of pictures is predicted as it goes, and gone on with where that was cut."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.errors import UserError
from paddy_lightning.prediction import by_checkpoint, partial, views
from paddy_lightning.prediction.predict import run_predict

Asked = Callable[..., PredictConfig]


@pytest.fixture
def asked(finished: Path, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """60 pictures in batches of 4, made safe by eights."""
    monkeypatch.setattr(partial, "AT_ONCE", 8)

    def config(name: str, **knobs: Any) -> PredictConfig:
        told = {"images": str(stripes / "train_images"), "batch_size": 4, "tta": True, **knobs}
        return PredictConfig(str(finished), output=str(tmp_path / name), **told)

    return config


def cut_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the next one is asked for."""

    def cut(*told: Any, **more: Any) -> Iterator[Tensor]:
        for number, found in enumerate(views.views_by_batch(*told, **more)):
            if number == batches:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(by_checkpoint, "views_by_batch", cut)


def shown(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures are shown from now on, a number a batch."""
    numbers: list[int] = []

    def count(*told: Any, **more: Any) -> Iterator[Tensor]:
        for found in views.views_by_batch(*told, **more):
            numbers.append(len(found))
            yield found

    monkeypatch.setattr(by_checkpoint, "views_by_batch", count)
    return numbers


def test_what_was_cut_is_gone_on_with(
    asked: Asked,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    whole = run_predict(asked("whole")).read_bytes()
    told = [line for line in caplog.messages if "error_rate" in line]
    caplog.clear()
    cut_after(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_predict(asked("cut"))
    table, journal = (tmp_path / "cut" / f"predictions.csv.{end}" for end in ("part", "journal"))
    assert not (tmp_path / "cut" / "predictions.csv").exists()
    assert whole.startswith(table.read_bytes()) and table.read_text().count("\n") == 1 + 20
    for name, value in (("tta", False), ("size", (48, 40)), ("batch_size", 8)):
        with pytest.raises(UserError, match=rf"part: is the beginning of other .* \({name} differ"):
            run_predict(asked("cut", **{name: value}))
    for file in (table, journal):  # as a kill leaves them
        with file.open("ab") as end:
            end.write(b"{half a li")
    numbers = shown(monkeypatch)
    assert run_predict(asked("cut")).read_bytes() == whole and sum(numbers) == 40
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["predictions.csv"]
    assert [line for line in caplog.messages if "error_rate" in line] == told and told


def test_rows_that_a_power_cut_took_are_predicted_again(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_predict(asked("whole")).read_bytes()
    cut_after(7, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_predict(asked("cut"))
    table = tmp_path / "cut" / "predictions.csv.part"
    table.write_bytes(table.read_bytes()[:-1])
    numbers = shown(monkeypatch)
    assert run_predict(asked("cut")).read_bytes() == whole and sum(numbers) == 60 - 24


def test_a_picture_that_changed_is_not_mixed_in(
    asked: Asked, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture = (stripes / "test_images" / "200000.jpg").read_bytes()
    for number in range(20):
        (pictures / f"{number}.jpg").write_bytes(picture)
    cut_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_predict(asked("cut", images=str(pictures)))
    (pictures / "0.jpg").write_bytes(picture + b"more")
    with pytest.raises(UserError, match=r"part: is the beginning of other .* \(images differ"):
        run_predict(asked("cut", images=str(pictures)))


def test_a_short_one_leaves_nothing(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_predict(asked("cut"))
    assert not list((tmp_path / "cut").iterdir())
