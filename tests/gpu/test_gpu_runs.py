"""A run on a GPU: its error, its end after a stop, its views, its memory, its faults."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small import small

from paddy_lightning.choices import DataConfig, Source, Tta
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.demo import generate
from paddy_lightning.data.table import open_data
from paddy_lightning.faults import sentence_of
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.prediction.predict import predict
from paddy_lightning.prediction.tta import join_views
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.training import max_time
from paddy_lightning.training.build import build
from paddy_lightning.training.readable import split_readable
from paddy_lightning.training.train import find_lr, resume, train

LITTLE = 64 * 2**20  # bytes


def on(device: str, **more: Any) -> dict[str, Any]:
    """Arguments of Lightning's Trainer."""
    return {"accelerator": "gpu" if device == "cuda" else "cpu", **more}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn data set, whole."""
    return generate(tmp_path_factory.mktemp("drawn") / "demo")


def train_demo(demo: Path, device: str, precision: str, run: Path) -> dict[str, Any]:
    """``recipe=demo`` in small, from the weights that come as a package."""
    config = TrainConfig(
        data=DataConfig(Source.paddy, str(demo)),
        arch="tf_efficientnet_lite0",
        presize=(160, 160),
        size=(128, 128),
        epochs=2,
        lr=5e-3,
        batch_size=32,
        tta=True,
        precision=precision,
        trainer=on(device),
    )
    return train(config, run)


@pytest.fixture(scope="module")
def on_the_cpu(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same in float32 on the CPU."""
    return train_demo(demo, "cpu", "32-true", tmp_path_factory.mktemp("cpu") / "run")


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        pytest.param("cpu", "bf16-mixed", marks=pytest.mark.slow),
        *(pytest.param("cuda", how, marks=pytest.mark.gpu) for how in ("16-mixed", "bf16-mixed")),
    ],
    indirect=["device"],
)
def test_mixed_precision_trains_to_the_error_of_the_cpu(
    demo: Path, on_the_cpu: dict[str, Any], tmp_path: Path, device: str, precision: str
) -> None:
    """Of 120 pictures, up to four more may be wrong."""
    told = train_demo(demo, device, precision, tmp_path / "run")
    assert told["num_valid"] == 120 and on_the_cpu["error_rate"] < 0.15
    for error in ("error_rate", "tta_error_rate"):
        assert told[error] <= on_the_cpu[error] + 4.5 / 120
    assert told["valid_loss"] < on_the_cpu["valid_loss"] + 0.1


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "32-true"),
        *(pytest.param("cuda", how, marks=pytest.mark.gpu) for how in ("32-true", "16-mixed")),
    ],
    indirect=["device"],
)
def test_a_resume_gives_the_numbers_it_would_have_had(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, precision: str
) -> None:
    """Up to what two runs differ in that were left in peace: on a CPU nothing."""
    config = small(stripes, precision=precision, epochs=3, trainer=on(device))
    for name in ("whole", "again"):
        train(config, tmp_path / name)
    clock = iter(range(100))
    monkeypatch.setattr(max_time, "monotonic", lambda: next(clock))
    config.trainer = on(device, max_time="00:00:00:08")  # in the third of four epochs
    assert train(config, tmp_path / "stopped")["status"] == "stopped"
    assert len(pd.read_csv(tmp_path / "stopped" / "metrics.csv")) == 2
    resume(tmp_path / "stopped", trainer={"max_time": None})
    whole, again, stopped = (
        pd.read_csv(tmp_path / name / "metrics.csv")[["train_loss", "valid_loss"]]
        for name in ("whole", "again", "stopped")
    )
    unrest = (again - whole).abs().to_numpy().max()
    assert len(stopped) == 4 and (device == "cuda" or unrest == 0)
    assert (stopped - whole).abs().to_numpy().max() <= 3 * unrest + 5e-3 * (device == "cuda")


def test_views_are_those_of_the_cpu(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """Of one network: each view's probabilities, and what test-time augmentation makes of them."""
    config = small(stripes, tta=True, trainer=on(device), precision="32-true")
    told = train(config, tmp_path / "run")
    data = open_data(config.data)
    module, datamodule = build(config, data, split_readable(config, data), Classifier)
    module.load_state_dict(load_checkpoint(tmp_path / "run")["state_dict"])
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    here, there = (
        predict_views(module.model, datamodule.shown(), "32-true", on(where, devices=1))
        for where in ("cpu", device)
    )
    assert here.shape == there.shape == (told["num_valid"], 5, 3) and not there.is_cuda
    assert (here - there).abs().max() < 2e-3
    pd.testing.assert_frame_equal(
        pd.DataFrame(join_views(here.numpy(), Tta.mean)),
        pd.DataFrame(join_views(there.numpy(), Tta.mean)),
        atol=2e-3,
        rtol=0,
    )
    files = predict(tmp_path / "run", stripes / "train_images", tta="mean")
    assert len(files) == 60 and files["confidence"].between(1 / 3, 1).all()


def test_a_rate_is_found(stripes: Path, tmp_path: Path, device: str) -> None:
    assert min(find_lr(small(stripes, trainer=on(device)), tmp_path).values()) > 0


def test_peak_memory_is_that_of_the_device(stripes: Path, tmp_path: Path, device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    told = train(small(stripes, epochs=1, trainer=on(device)), tmp_path / "run")
    if device == "cuda":
        most = torch.cuda.max_memory_allocated() / 2**20
        assert told["peak_memory_mb"] == pytest.approx(most, abs=1)
    assert told["peak_memory_mb"] > 1


@pytest.fixture
def little_memory(device: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A GPU of 64 MB; on a CPU, what torch would say of one."""
    if device == "cpu":

        def step(*_: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        monkeypatch.setattr(Classifier, "training_step", step)
        yield
        return
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved() + LITTLE) / torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(share)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_out_of_memory_is_told(
    stripes: Path, tmp_path: Path, device: str, little_memory: None
) -> None:
    large = (480, 480) if device == "cuda" else (40, 32)
    config = small(stripes, size=large, batch_size=48, trainer=on(device))
    with pytest.raises(RuntimeError) as caught:
        train(config, tmp_path / "run")
    told = str(sentence_of(caught.value))
    assert told.startswith("the GPU is out of memory: a smaller batch_size=") and "size=" in told
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed" and summary["reason"] == told
