"""``python -m benchmarks.fastai_runs BEAN OUT lr_mult=100,10 seed=0,1,2 fold=0,1,2,3,4``.

Every combination is fine-tuned by fastai, with its own defaults, and leaves a folder that
``paddy compare runs=[OUT,OURS]`` reads beside those of a sweep of ours over the same words. Split,
weights and sizes are ours; the rest is fastai's: its decoding, augmentation, head, schedule, TTA.
"""

import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    ResizeMethod,
    aug_transforms,
    error_rate,
    set_seed,
    vision_learner,
)

from benchmarks.our_side import quiet
from paddy_lightning.atomic import write_json
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig, plain
from paddy_lightning.data.table import open_data
from paddy_lightning.network.model import build_model
from paddy_lightning.training.evaluation import evaluate
from paddy_lightning.training.readable import split_readable

SETTINGS: dict[str, Any] = {
    "arch": "tf_efficientnet_lite0",
    "presize": 192,
    "size": 128,
    "epochs": 10,
    "lr": 1e-2,
    "lr_mult": 100.0,
    "batch_size": 16,
    "seed": 0,
    "fold": 0,
    "weights": "pretrained",
}


def fine_tune(config: TrainConfig, out: Path) -> None:
    """``Learner.fine_tune``, its last epoch judged, plain and with TTA; nothing if it is there.

    Args:
        config: ``SETTINGS``'s knobs are used.
        out: The folder to make.
    """
    if (out / "summary.json").exists():
        return
    with quiet():
        table = split_readable(config, open_data(config.data))
    start = time.perf_counter()
    set_seed(config.seed, reproducible=True)
    learn = _learner(config, table)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(config.epochs, config.lr, config.freeze_epochs, config.lr_mult)
        plain_view, _ = learn.get_preds(dl=learn.dls.valid)
        augmented, truth = learn.tta(dl=learn.dls.valid)
    seconds = time.perf_counter() - start
    out.mkdir(parents=True)
    names = [str(name) for name in learn.dls.vocab]
    found = evaluate(table[table["is_valid"]], plain_view[:, None].numpy(), names, False, out)
    found["tta_error_rate"] = float((augmented.argmax(1) != truth).float().mean())
    num_valid = int(table["is_valid"].sum())
    counts = {"num_train": len(table) - num_valid, "num_valid": num_valid}
    told = plain(replace(config, arch=f"{config.arch} (fastai)", tta=True))
    (out / "config.yaml").write_text(yaml.safe_dump(told))
    write_json(
        out / "summary.json", {"status": "done", "seconds": round(seconds, 1)} | found | counts
    )


def _learner(config: TrainConfig, table: pd.DataFrame) -> Any:
    """``vision_learner`` on the split of the table, with the weights that ours begins with."""
    body = build_model(config.arch, table["label"].nunique(), config.weights, config.size).body
    cfg: Any = body.pretrained_cfg
    dls = ImageDataLoaders.from_df(
        table,
        path=config.data.root,
        fn_col="file",
        label_col="label",
        valid_col="is_valid",
        item_tfms=Resize(config.presize, method=ResizeMethod.Squish),
        batch_tfms=[
            *aug_transforms(size=config.size, min_scale=0.75),
            Normalize.from_stats(cfg["mean"], cfg["std"]),
        ],
        bs=config.batch_size,
        num_workers=0,
    )
    learn = vision_learner(dls, config.arch, pretrained=False, metrics=error_rate)
    learn.model[0].model.load_state_dict(body.state_dict())
    return learn


def main(root: str, out: str, words: list[str]) -> None:
    """Run every combination of the words' values."""
    told = dict(word.split("=", 1) for word in words)
    if unknown := sorted(set(told) - set(SETTINGS)):
        sys.exit(f"{unknown[0]}: is none of {', '.join(SETTINGS)}")
    for values in product(*(value.split(",") for value in told.values())):
        chosen = dict(zip(told, map(yaml.safe_load, values), strict=True))
        config = TrainConfig(DataConfig(Source.folder, root), **{**SETTINGS, **chosen})
        name = "_".join(f"{knob}-{value}" for knob, value in zip(told, values, strict=True))
        fine_tune(config, Path(out, name))
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
