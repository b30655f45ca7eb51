import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddy_lightning.choices import DataConfig, Resize, Tta
from paddy_lightning.command_configs import DownloadConfig, PredictConfig, SubmitConfig
from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.errors import UserError
from paddy_lightning.knob import read_size


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_size_has_three_forms(height: int, width: int) -> None:
    assert read_size("size", f"{height}x{width}") == (height, width)
    assert read_size("size", [height, width]) == (height, width)
    assert read_size("size", height) == read_size("size", str(height)) == (height, height)


@pytest.mark.parametrize(
    "value", ["", "x", "12y", "1x2x3", 0, -3, 1.5, [1], [1, 2, 3], [0, 4], [1.5, 2], None, True]
)
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(UserError, match=r"^presize=.*not a size"):
        read_size("presize", value)


def test_a_notebook_may_use_names_and_short_forms() -> None:
    config = TrainConfig(resize="pad", size="256x192", presize=480)  # type: ignore[arg-type]
    assert config.resize is Resize.pad
    assert (config.size, config.presize) == ((256, 192), (480, 480))
    assert PredictConfig(tta=True).tta is Tta.mean
    with pytest.raises(UserError, match=r"resize=shrink: not one of squish, pad, crop"):
        TrainConfig(resize="shrink")  # type: ignore[arg-type]


def test_plain_values_make_the_same_config_again() -> None:
    config = TrainConfig(
        data=DataConfig(root="somewhere"),
        resize=Resize.crop,
        size=(96, 64),
        augment=[{"RandomErasing": {"p": 0.5}}],
        trainer={"gradient_clip_val": 1.0},
    )
    values = plain(config)
    assert TrainConfig(**values) == config
    assert all(type(v) in (dict, list, str, int, float, bool, type(None)) for v in values.values())


def test_every_knob_says_what_it_means() -> None:
    for kind in (TrainConfig, DataConfig, PredictConfig, DownloadConfig, SubmitConfig):
        for knob in dataclasses.fields(kind):
            assert knob.name == "data" or len(knob.metadata["meaning"]) > 10, knob.name
