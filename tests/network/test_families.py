"""One small arch of each of twenty families: builds, trains a step in both phases, predicts."""

from pathlib import Path

import pandas as pd
import pytest

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.network.model import build_model, resolve_arch
from paddy_lightning.prediction.predict import predict
from paddy_lightning.training.train import train

SMALLEST = (64, 64)
FAMILIES = {  # arch: the size it is tried at
    "resnet10t": SMALLEST,
    "convnext_atto": SMALLEST,
    "tf_efficientnet_lite0": SMALLEST,
    "mobilenetv4_conv_small_035": SMALLEST,
    "regnetx_002": SMALLEST,
    "vit_tiny_patch16_224": (64, 48),
    "deit_tiny_patch16_224": (64, 48),
    "beit_base_patch16_224": (64, 48),
    "eva02_tiny_patch14_224": (56, 42),
    "swin_tiny_patch4_window7_224": (64, 96),
    "swinv2_tiny_window8_256": (64, 96),
    "maxvit_rmlp_pico_rw_256": SMALLEST,
    "coatnet_nano_rw_224": SMALLEST,
    "davit_tiny": SMALLEST,
    "fastvit_t8": SMALLEST,
    "efficientformer_l1": (224, 224),  # the only size it takes
    "hiera_tiny_224": SMALLEST,
    "mambaout_femto": SMALLEST,
    "repvit_m0_9": SMALLEST,
    "inception_next_atto": SMALLEST,
}


@pytest.mark.slow
@pytest.mark.parametrize("arch", FAMILIES)
def test_a_family_trains_in_both_phases_and_predicts(
    arch: str, stripes: Path, tmp_path: Path
) -> None:
    config = TrainConfig(
        data=DataConfig(Source.paddy, str(stripes)),
        arch=arch,
        weights="none",
        presize=(80, 60),
        size=FAMILIES[arch],
        epochs=1,
        batch_size=8,
        num_workers=0,
        trainer={"limit_train_batches": 1},
    )
    summary = train(config, tmp_path / "run")
    assert summary["epochs"] == 2 and summary["arch"].startswith(f"{arch}.")
    predictions = predict(tmp_path / "run", tta="mean")
    classes = predictions[["across", "down", "slanted"]]
    assert len(predictions) == 8 and classes.notna().all(axis=None)
    valid = pd.read_csv(tmp_path / "run" / "valid_predictions.csv")
    assert len(valid) == 12 and valid["loss"].notna().all()


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        ("efficientformer_l1", (64, 64)),
        ("crossvit_tiny_240", (224, 224)),
        ("vit_tiny_patch16_224", (8, 8)),
    ],
)
def test_a_size_it_cannot_take_is_refused_with_one_that_fits(
    arch: str, size: tuple[int, int]
) -> None:
    with pytest.raises(UserError, match=r"cannot be built \(.*it was made for size=2\d\dx2\d\d"):
        build_model(arch, 3, "none", size)


def test_old_names_are_known() -> None:
    assert resolve_arch("convnext_small_in22k")[0] == "convnext_small.fb_in22k"
    assert resolve_arch("convnext_small")[0] == "convnext_small.in12k_ft_in1k"
