"""``paddy probe``: which network suits the pictures, by what it makes of those to train on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small import small

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.command_configs import ProbeConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.network.model import build_model
from paddy_lightning.prediction.predict import predict
from paddy_lightning.runs.trained import load_checkpoint, load_network
from paddy_lightning.training.build import build_datamodule, checkpoint_facts
from paddy_lightning.training.frozen import fit_head, frozen_features, out_of_fold
from paddy_lightning.training.probe import probe, ranked
from paddy_lightning.training.train import train

ARCHS = ["mobilenetv3_small_050", "resnet10t"]


def small_probe(stripes: Path, **changes: Any) -> ProbeConfig:
    config = small(stripes, **{"arch": ",".join(ARCHS), **changes})
    return ProbeConfig(**{one.name: getattr(config, one.name) for one in fields(TrainConfig)})


@pytest.fixture(scope="module")
def probed(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe") / "probe"
    probe(small_probe(stripes), folder)
    return folder


def test_it_ranks_the_candidates(probed: Path) -> None:
    found = pd.read_csv(probed / "probe.csv")
    assert sorted(found["arch"]) == ARCHS and set(found["size"]) == {"40x32"}
    assert found["error_rate"].is_monotonic_increasing and found["error_rate"][0] < 0.3
    assert (found["error_low"] <= found["error_rate"]).all()
    assert (found["error_rate"] <= found["error_high"]).all()
    assert np.isnan(found["p"][0]) and 0 <= found["p"][1] <= 1
    assert (found["seconds"] > 0).all()
    resnet = found.set_index("arch").loc["resnet10t"]
    # A head for two classes on 2 x 512 features, a layer of 512, and the body.
    assert 5 < resnet["million_parameters"] < 6


def test_the_pictures_that_validate_are_not_looked_at(stripes: Path, tmp_path: Path) -> None:
    """Whatever they are, nothing changes: nor their labels, nor what is in the files."""
    shutil.copytree(stripes, tmp_path / "data")
    told = small_probe(tmp_path / "data", arch="resnet10t")
    probe(told, tmp_path / "before")
    table = pd.read_csv(tmp_path / "before" / "pictures.csv")
    some = table.loc[~table["is_valid"], "file"].iloc[0]
    for file in table.loc[table["is_valid"], "file"]:
        folder = tmp_path / "data" / "train_images"
        shutil.copy(folder / some, folder / file)
    probe(told, tmp_path / "after")
    first, second = (
        load_checkpoint(next((tmp_path / n).glob("*.ckpt"))) for n in ("before", "after")
    )
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name])
    errors = [pd.read_csv(tmp_path / n / "probe.csv")["error_rate"][0] for n in ("before", "after")]
    assert errors[0] == errors[1]


def test_features_are_what_the_head_is_given(stripes: Path) -> None:
    """Of a body that hands over a map, and of one that pools by itself, in training's order."""
    for arch, size in (("resnet10t", (40, 32)), ("vit_tiny_patch16_224", (32, 32))):
        config = small(stripes, arch=arch, size=size)
        data = open_data(config.data)
        names = sorted(data.train["label"].unique())
        network = build_model(arch, len(names), "none", config.size)
        facts = checkpoint_facts(config, data, names, network)
        datamodule = build_datamodule(config, data.root, data.train, names, facts)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        features = frozen_features(network, datamodule, "32-true", {"devices": 1})
        assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
        rows = [0, 7, len(data.train) - 1]
        images = torch.stack([datamodule.pictures[row].image for row in rows])
        _, layers = network.eval().split_head()
        with torch.no_grad():
            expected = network(datamodule.augment.plain(images))
            assert torch.allclose(layers(features[rows]), expected, atol=1e-4)


def test_a_head_learns_what_the_features_tell() -> None:
    """And nothing else of the network moves: its statistics, too, are as pretrained."""
    network = build_model("resnet10t", 3, "none", (32, 32))
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (150,), generator=generator)
    centres = torch.randn(3, 1024, generator=generator) / 2
    features = centres[labels] + torch.randn(150, 1024, generator=generator)
    body = {name: tensor.clone() for name, tensor in network.body.state_dict().items()}
    fit_head(network, features[:100], labels[:100], seed=0)
    _, layers = network.split_head()
    with torch.no_grad():
        assert (layers(features[100:]).argmax(1) == labels[100:]).float().mean() > 0.9
    assert all(torch.equal(body[name], now) for name, now in network.body.state_dict().items())
    folds = np.array_split(np.arange(150), 5)
    said = out_of_fold(features, labels.numpy(), folds)
    assert (said == labels.numpy()).mean() > 0.8
    with pytest.raises(UserError, match="no logistic regression: Input X contains NaN"):
        out_of_fold(features.log(), labels.numpy(), folds)


def test_groups_stay_together(stripes: Path, tmp_path: Path) -> None:
    """Pictures that are there five times are no help to each other: labels by lot stay so."""
    files = sorted((stripes / "train_images").rglob("*.jpg"))[:12]
    for number, file in enumerate(files):
        for copy in range(5):
            place = tmp_path / "data" / "ab"[number % 2] / f"{number}_{copy}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    errors = {}
    for group in (None, "duplicates"):
        data = DataConfig(Source.folder, str(tmp_path / "data"))
        told = small_probe(stripes, data=data, arch="resnet10t", group=group)
        errors[group] = probe(told, tmp_path / str(group))["error_rate"][0]
    assert errors[None] < 0.1 and errors["duplicates"] > 0.3


def test_a_training_can_start_from_its_head(probed: Path, stripes: Path, tmp_path: Path) -> None:
    """Which is as good as trained; with rates of next to nothing it stays so."""
    start = str(probed / "resnet10t_40x32.ckpt")
    told = small(stripes, arch="resnet10t", freeze_epochs=0, epochs=1, lr=1e-12)
    fresh = train(told, tmp_path / "fresh")
    started = train(replace(told, start=start), tmp_path / "started")
    assert started["error_rate"] < fresh["error_rate"] - 0.2
    said = predict(start, stripes / "train_images")
    assert len(said) > 10 and said["confidence"].notna().all()
    assert load_network(load_checkpoint(start)).head is not None
    summary = json.loads((tmp_path / "started" / "summary.json").read_text())
    assert summary["status"] == "done"


def test_the_best_is_tested_against_the_others_in_pairs() -> None:
    rows = pd.DataFrame(
        {"arch": list("abc"), "size": "1x1", "error_rate": [0.5, 0.2, 0.2]}
        | dict.fromkeys(("error_low", "error_high", "seconds"), 0.0)
    )
    right = np.arange(100) >= 20
    found = ranked(rows, [np.arange(100) >= 50, right, right])
    assert found["arch"].tolist() == ["b", "c", "a"]
    assert found["p"][1] == 1 and found["p"][2] < 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "resnet10t,resnet10tt"}, "arch=resnet10tt: timm has no such model; did you"),
        (
            {"weights": "pretrained"},
            "arch=mobilenetv3_small_050.*its pretrained weights are neither",
        ),
        ({"weights": "missing.pt"}, "weights=missing.pt: no such file"),
        ({"arch": "resnet10t,vit_tiny_patch16_224", "size": (8, 8)}, "cannot be built"),
        ({"start": "run"}, "a probe compares pretrained networks"),
    ],
)
def test_one_that_cannot_be_built_ends_it_before_any_is_computed(
    changes: dict[str, Any], message: str, stripes: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        probe(small_probe(stripes, **changes), tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ("128,192x144", [(128, 128), (192, 144)]),
        (128, [(128, 128)]),
        ([192, 144], [(192, 144)]),
        ([(64, 32), "128"], [(64, 32), (128, 128)]),
    ],
)
def test_a_candidate_is_an_arch_at_a_size(size: Any, sizes: list[tuple[int, int]]) -> None:
    config = replace(ProbeConfig(arch="a, b", size=size), epochs=1)
    told = [(candidate.arch, candidate.size) for candidate in config.candidates()]
    assert told == [(arch, one) for arch in "ab" for one in sizes]
    assert len(ProbeConfig(arch=["a", "a"]).candidates()) == 1


def test_as_it_is_typed(
    stripes: Path, tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    """Commas need no -m; what is printed says what was not looked at, and how to go on."""
    words = ("data=paddy", f"data.root={stripes}", "weights=none", "presize=48x40", "num_workers=0")
    told = run_script("probe", *words, f"arch={','.join(ARCHS)}", "size=40x32,32")
    assert told.returncode == 0, told.stderr
    assert "the best is" in told.stdout and "that validate stay unseen" in told.stdout
    assert "everything is in" in told.stdout
    (folder,) = (tmp_path / "outputs").glob("probe_*")
    assert f"paddy train start={folder}/" in told.stdout
    assert len(list(folder.glob("*.ckpt"))) == len(pd.read_csv(folder / "probe.csv")) == 4
    wrong = run_script("train", *words, f"arch={','.join(ARCHS)}")
    assert "several values make a sweep; add -m" in wrong.stderr
