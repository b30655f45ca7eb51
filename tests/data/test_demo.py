import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from paddy_lightning.data.demo import generate
from paddy_lightning.data.leaves import CLASS_NAMES, draw_leaf


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("demo") / "demo", num_train=20, num_test=6)


def test_the_layout_is_kaggles(small: Path) -> None:
    train = pd.read_csv(small / "train.csv")
    assert list(train) == ["image_id", "label", "variety", "age"]
    files = {path.name: path.parent.name for path in (small / "train_images").glob("*/*.jpg")}
    assert files == dict(zip(train["image_id"], train["label"], strict=True))
    assert set(train["label"]) == set(CLASS_NAMES) and len(CLASS_NAMES) == 10
    sample = pd.read_csv(small / "sample_submission.csv")
    tests = sorted(path.name for path in (small / "test_images").iterdir())
    assert sample["image_id"].tolist() == tests and len(tests) == 6
    with Image.open(small / "test_images" / tests[0]) as image:
        assert (image.height, image.width, image.mode) == (640, 480, "RGB")


def test_a_picture_depends_on_its_class_and_seed_alone() -> None:
    once, again, other = (np.array(draw_leaf("blast", seed)) for seed in (3, 3, 4))
    assert (once == again).all() and (once != other).any()


def test_more_pictures_leave_the_first_ones_as_they_are(small: Path, tmp_path: Path) -> None:
    more = generate(tmp_path / "more", num_train=25, num_test=2)
    for path in (small / "train_images").glob("*/*.jpg"):
        same = more / path.relative_to(small)
        assert same.read_bytes() == path.read_bytes()


def test_what_is_there_stays(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert generate(small, num_train=30) == small
    assert before == {path: path.stat().st_mtime_ns for path in small.rglob("*")}


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ten classes need at least ten pictures"):
        generate(tmp_path / "demo", num_train=9)


def test_a_killed_drawing_leaves_no_half_data_set(tmp_path: Path) -> None:
    code = f"from paddy_lightning.data.demo import generate; generate({str(tmp_path / 'demo')!r})"
    job = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not list(tmp_path.rglob("*.jpg")):
        assert job.poll() is None
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGKILL)  # the drawing processes too
    job.wait()
    assert not (tmp_path / "demo").exists()
    assert (generate(tmp_path / "demo", num_train=10, num_test=1) / "train.csv").exists()


def test_colour_alone_does_not_tell_the_classes() -> None:
    """Softmax regression on the mean of each channel, of 400 pictures, stays below 60 %."""
    labels = torch.arange(400) % 10
    drawn = [draw_leaf(CLASS_NAMES[label], 7000 + i) for i, label in enumerate(labels.tolist())]
    means = torch.tensor(np.array([np.array(image).mean((0, 1)) for image in drawn])).float()
    means = (means - means.mean(0)) / means.std(0)
    model = torch.nn.Linear(3, 10)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(means[:300]), labels[:300])
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    accuracy = (model(means[300:]).argmax(1) == labels[300:]).float().mean()
    print(f"accuracy from mean colours: {accuracy:.3f}")
    assert accuracy < 0.6
