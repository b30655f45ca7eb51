"""What a user of fastai writes, run by ``python -m benchmarks.fastai_script``.

``train ROOT WEIGHTS SETTINGS SEED ...``, where settings are JSON with ``arch, presize, size,
epochs, batch_size``; or ``predict ROOT WEIGHTS SETTINGS FILE_OR_FOLDER``. Not by ``export`` and
``load_learner``: what those pickle cannot be read again since plum 2.10, on which fastai depends.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from fastai.vision.all import (
    ImageDataLoaders,
    Resize,
    ResizeMethod,
    aug_transforms,
    error_rate,
    get_image_files,
    set_seed,
    vision_learner,
)

warnings.filterwarnings("ignore")


def learner(root: str, settings: str) -> Any:
    """Pictures in the trees ``train`` and ``valid``, and a network for them."""
    told = json.loads(settings)
    dls = ImageDataLoaders.from_folder(
        root,
        train="train",
        valid="valid",
        item_tfms=Resize(told["presize"], method=ResizeMethod.Squish),
        batch_tfms=aug_transforms(size=told["size"], min_scale=0.75),
        bs=told["batch_size"],
    )
    return vision_learner(dls, told["arch"], pretrained=False, metrics=error_rate)


def train(root: str, weights: str, settings: str, *seeds: str) -> None:
    """``fine_tune`` and ``save``, once a seed, one after the other."""
    for seed in seeds:
        set_seed(int(seed))
        learn = learner(root, settings)
        learn.fine_tune(json.loads(settings)["epochs"])
        learn.save(Path(weights).absolute())


def predict(root: str, weights: str, settings: str, images: str) -> None:
    """The top class of a picture; of a folder, a table of probabilities."""
    learn = learner(root, settings)
    learn.load(Path(weights).absolute())
    if Path(images).is_file():
        print(learn.predict(images)[0])
        return
    files = get_image_files(images)
    probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(files))
    table = pd.DataFrame(probabilities.numpy(), index=files, columns=learn.dls.vocab)
    table.to_csv(f"{weights}.csv")


if __name__ == "__main__":
    (train if sys.argv[1] == "train" else predict)(*sys.argv[2:])
