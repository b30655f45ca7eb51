"""Several networks as one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import small

from paddy_lightning.choices import Resize
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.ensemble import join_members, shares, validation_errors
from paddy_lightning.prediction.predict import predict
from paddy_lightning.training.train import train

CLASSES = ["across", "down", "slanted"]


@pytest.fixture(scope="module")
def members(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of another size, arch and resize method each, and one with another split."""
    folder = tmp_path_factory.mktemp("members")
    changes: list[dict[str, Any]] = [
        {"arch": "mobilenetv3_small_050"},
        {"arch": "resnet10t", "size": (48, 32), "resize": Resize.pad},
        {"arch": "resnet10t", "resize": Resize.crop, "split_seed": 7},
    ]
    for number, change in enumerate(changes):
        train(small(stripes, epochs=1, **change), folder / str(number))
    return [folder / str(number) for number in range(3)]


def test_the_whole_is_the_weighted_mean_of_its_members(members: list[Path]) -> None:
    alone = [predict(member, tta="mean")[CLASSES].to_numpy() for member in members]
    whole = predict(members, tta="mean", ensemble_weights=[2, 1, 1])
    expected = (2 * alone[0] + alone[1] + alone[2]) / 4
    assert np.allclose(whole[CLASSES], expected, atol=1e-6)
    assert whole["label"].tolist() == np.array(CLASSES)[expected.argmax(1)].tolist()


def test_errors_are_those_of_the_common_validation_pictures(members: list[Path]) -> None:
    valid = [pd.read_csv(m / "valid_predictions.csv").set_index("file") for m in members]
    common = sorted(set(valid[0].index) & set(valid[1].index) & set(valid[2].index))
    assert 0 < len(common) < 12
    errors = validation_errors(members, shares(None, 3), [1, 1, 1])
    assert errors["run"].tolist() == ["0", "1", "2", "ensemble"]
    assert (errors["pictures"] == len(common)).all()
    for error, table in zip(errors["error_rate"], valid, strict=False):
        some = table.loc[common]
        assert error == pytest.approx((some["label"] != some["predicted"]).mean())
    summed = np.sum([table.loc[common, CLASSES].to_numpy() for table in valid], axis=0)
    wrong = np.array(CLASSES)[summed.argmax(1)] != valid[0].loc[common, "label"]
    assert errors["error_rate"].iloc[-1] == pytest.approx(wrong.mean())


def test_as_a_user_types_it(
    run_script: Callable[..., Any], members: list[Path], tmp_path: Path
) -> None:
    named = f"ckpt=[{','.join(map(str, members))}]"
    result = run_script("predict", named, "ensemble_weights=[2,1,1]", "output=whole")
    assert result.returncode == 0, result.stderr
    assert "pictures that validated all members:" in result.stdout
    assert "ensemble  error_rate" in result.stdout
    assert len(pd.read_csv(tmp_path / "whole" / "submission.csv")) == 8
    for words, message in (
        ([named], "say where the CSV files go, with output=FOLDER"),
        ([named, "output=x", "ensemble_weights=[1,2]"], "give 3 positive numbers"),
        ([named, "output=x", "ensemble_weights=[1,2,-1]"], "give 3 positive numbers"),
    ):
        result = run_script("predict", *words)
        assert result.returncode == 1 and message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_members_of_other_classes_are_refused(
    members: list[Path], stripes: Path, tmp_path: Path
) -> None:
    for label in ("across", "down"):
        (tmp_path / "two" / label).mkdir(parents=True)
        for file in (stripes / "train_images" / label).iterdir():
            (tmp_path / "two" / label / file.name).symlink_to(file)
    config = small(stripes, epochs=0)
    config.data.root = str(tmp_path / "two")
    config.data.source = type(config.data.source)("folder")
    train(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"tells .* apart"):
        predict([members[0], tmp_path / "run"])


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(1, 5))
def test_joined_members_are_probabilities(weights: list[float], classes: int) -> None:
    members = [torch.rand(4, classes).softmax(1).numpy() for _ in weights]
    joined = join_members(members, shares(weights, len(weights)), [1] * len(weights))
    assert np.abs(joined.sum(1) - 1).max() < 1e-5 and joined.dtype == np.float32
    assert joined.min() >= min(float(m.min()) for m in members) - 1e-6


def test_members_of_one_name_and_of_other_pictures(tmp_path: Path) -> None:
    """Told apart by their folders; the same path under another label is another picture."""
    for name, labels in (("x", "aab"), ("y", "abb")):
        shares_of_a = [0.9, 0.8, 0.1]
        table = pd.DataFrame({"file": ["1.jpg", "2.jpg", "3.jpg"], "label": list(labels)})
        table = table.assign(predicted=list("aab"), confidence=0.9, loss=0.1, a=shares_of_a)
        (tmp_path / name / "run").mkdir(parents=True)
        table.assign(b=1 - table["a"]).to_csv(
            tmp_path / name / "run" / "valid_predictions.csv", index=False
        )
    runs = [tmp_path / "x" / "run", tmp_path / "y" / "run"]
    errors = validation_errors(runs, shares(None, 2), [1, 1])
    assert errors["run"].tolist() == ["x/run", "y/run", "ensemble"]
    assert errors["pictures"].tolist() == [2, 2, 2] and errors["error_rate"].tolist() == [0, 0, 0]
    (runs[0] / "valid_predictions.csv").write_text("picture,label\n1.jpg,a\n")
    with pytest.raises(UserError, match="has no column file"):
        validation_errors(runs, shares(None, 2), [1, 1])
