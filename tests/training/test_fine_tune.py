"""The whole of fine-tuning against a run recorded from fastai, through the real parts."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from paddy_lightning.choices import Norm
from paddy_lightning.data.pictures import Batch
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.training.fine_tune import FineTune, step_seed
from paddy_lightning.training.schedule import fine_tune


def small_network() -> nn.Sequential:
    body = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
    )
    pool = nn.AdaptiveAvgPool2d(1)
    head = nn.Sequential(pool, nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 4))
    return nn.Sequential(OrderedDict(body=body, head=head))


def loader(pictures: Tensor, labels: Tensor) -> DataLoader[Batch]:
    rows = [Batch(*row) for row in zip(pictures, labels, torch.arange(len(labels)), strict=True)]
    return DataLoader(rows, batch_size=10)  # type: ignore[arg-type]


class Recorder(pl.Callback):
    """Every loss, and what the optimizer remembers at the start of every step."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.valid: list[float] = []
        self.remembers: list[int] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.remembers.append(len(trainer.optimizers[0].state))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.train.append(float(outputs["loss"]))

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.valid.append(float(trainer.callback_metrics["valid_loss"]))


def fit(
    module: Classifier,
    tensors: dict[str, Tensor],
    tmp_path: Path,
    norm: Norm = Norm.train,
    **more: Any,
) -> Recorder:
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=4,
        callbacks=[FineTune(fine_tune(3, 3e-3), norm=norm), recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        **more,
    )
    trainer.fit(
        module,
        loader(tensors["x_train"], tensors["y_train"]),
        loader(tensors["x_valid"], tensors["y_valid"]),
    )
    return recorder


def test_a_whole_run_is_fastais(golden: Path, tmp_path: Path) -> None:
    tensors = load_file(golden / "fine_tune_trajectory.safetensors")
    recorded = json.loads((golden / "fine_tune_trajectory.json").read_text())
    network = small_network()

    def part(name: str) -> dict[str, Tensor]:
        short = {"0": "body", "1": "head"}
        keys = [key for key in tensors if key.startswith(f"{name}.")]
        return {short[k.split(".")[1]] + "." + k.split(".", 2)[2]: tensors[k] for k in keys}

    network.load_state_dict(part("start"))
    found = fit(Classifier(network, num_classes=4), tensors, tmp_path)
    assert found.train == pytest.approx(recorded["train_loss_per_step"], abs=1e-5)
    assert found.valid == pytest.approx(recorded["valid_loss_per_epoch"], abs=1e-5)
    for name, expected in part("end").items():
        assert (network.state_dict()[name].double() - expected).abs().max() < 1e-5, name
    assert found.remembers[0] == 0 and found.remembers[6] == 0  # empty when a phase begins


@pytest.fixture
def random_tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "x_train": torch.rand(60, 3, 16, 16),
        "y_train": torch.randint(0, 4, (60,)),
        "x_valid": torch.rand(20, 3, 16, 16),
        "y_valid": torch.randint(0, 4, (20,)),
    }


def test_the_body_rests_while_its_normalisation_trains(
    random_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    network = small_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit(Classifier(network, 4), random_tensors, tmp_path, max_steps=6)
    changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    assert set(before) - changed == {"body.0.weight", "body.3.weight"}


def test_the_whole_body_rests_with_frozen_normalisation(
    random_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """Its statistics too, also after a validation; in the next phase all of it trains."""
    for steps, rests in ((6, True), (12, False)):
        network = small_network()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        fit(Classifier(network, 4), random_tensors, tmp_path, Norm.freeze, max_steps=steps)
        changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
        of_the_body = {name for name in before if name.startswith("body.")}
        assert changed & of_the_body == (set() if rests else of_the_body)
        assert {name for name in changed if name.startswith("head.")}


def test_smoothed_labels_are_for_training_alone(
    random_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """Its loss is the formula's, that of validation as ever."""
    torch.manual_seed(3)
    network = small_network().eval()
    module = Classifier(network, 4, label_smoothing=0.2)
    batch = Batch(random_tensors["x_train"], random_tensors["y_train"], torch.arange(60))
    logits = network(batch.image).log_softmax(1)
    plain = -logits.gather(1, batch.label[:, None]).mean()
    assert module.training_step(batch, 0).item() == pytest.approx(
        float(0.8 * plain - 0.2 * logits.mean()), rel=1e-5
    )
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    found = trainer.validate(module, loader(batch.image, batch.label), verbose=False)
    assert found[0]["valid_loss"] == pytest.approx(float(plain), rel=1e-5)


def test_accumulation_steps_through_the_whole_schedule(
    random_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """Six batches by four are two steps an epoch, the second of two batches."""
    module = Classifier(small_network(), 4)
    rates: list[float] = []

    class Rates(pl.Callback):
        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            rates.append(optimizer.param_groups[-1]["lr"])

    from paddy_lightning.training.schedule import lr_and_momentum

    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=4,
        accumulate_grad_batches=4,
        callbacks=[FineTune(fine_tune(3, 3e-3)), Rates()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader(random_tensors["x_train"], random_tensors["y_train"]))
    expected = [lr_and_momentum(fine_tune(3, 3e-3), 2, step)[0][1] for step in range(8)]
    assert rates == pytest.approx(expected)


def test_gradient_clipping_acts(random_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    """Against a bound that no gradient reaches: clipping of itself changes the optimizer's kind."""

    def run(bound: float) -> list[float]:
        torch.manual_seed(3)
        module = Classifier(small_network(), 4)
        return fit(module, random_tensors, tmp_path, gradient_clip_val=bound).train

    assert max(abs(a - b) for a, b in zip(run(1e-6), run(1e9), strict=True)) > 1e-3


def test_every_step_has_its_own_seed() -> None:
    seeds = {step_seed(s, rank, step) for s in (1, 2) for rank in (0, 1) for step in range(500)}
    assert len(seeds) == 2000
