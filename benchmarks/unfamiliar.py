"""Which score tells pictures of another kind from those of the validation.

    python -m benchmarks.unfamiliar RUN [RUN ...] --others NAME=FOLDER [NAME=FOLDER ...]

For each run: the area under the curve, validation pictures against sixty drawn ones of each kind
(``benchmarks.strange``), those of other data sets, and its own when dim, unsharp or turned, by
several scores; then what share of them ``unfamiliar=true`` finds, and of the run's own as they are:
twenty times one half of the validation pictures is remembered, and the other asked about.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from benchmarks.strange import change_all, draw_all
from paddy_lightning.data.formats import suffixes
from paddy_lightning.data.labels import csv_table
from paddy_lightning.data.pictures import Pictures
from paddy_lightning.data.shown import Shown
from paddy_lightning.network.answers import features_of, traits_of
from paddy_lightning.network.model import Network
from paddy_lightning.prediction.views import Answer, predict_views
from paddy_lightning.runs.familiarity import Familiarity, remember, unfamiliarity
from paddy_lightning.runs.pictures import open_again
from paddy_lightning.runs.run_folder import read_config
from paddy_lightning.runs.trained import augment_of, load_checkpoint, load_network, presize_of

HALVES = 20
AT_MOST = 150  # pictures of another data set
OWN = "own"
Of = dict[str, Tensor]  # what a network, or a score, makes of pictures: by their kind


def pictures_in(folder: Path) -> list[str]:
    """Relative to it, in the order of their names."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def asked(
    network: Network, facts: dict[str, Any], root: Path, files: list[str], answer: Answer
) -> Tensor:
    """What a network says of pictures: float32 [N, width]."""
    count = len(files)
    pictures = Pictures(root, pd.Series(files), np.zeros(count, np.int64), presize_of(facts))
    shown = Shown(pictures, np.arange(count), augment_of(facts), 0, 32, 0)
    return predict_views(network, shown, facts["precision"], answer=answer)[:, 0]


def scores(layers: nn.Sequential, train: Tensor, of: Of) -> Iterator[tuple[str, Of]]:
    """By name: what a score of the last features says of each kind, more for stranger ones.

    Args:
        layers: Of the head.
        train: float32 [N, width], features of the pictures it was trained on.
        of: Likewise of each kind.
    """
    with torch.inference_mode():
        logits = {kind: layers(found) for kind, found in of.items()}
        hidden = {kind: layers[:-1](found) for kind, found in of.items()}
    yield "1 - confidence", {kind: 1 - found.softmax(1).amax(1) for kind, found in logits.items()}
    yield "energy", {kind: -found.logsumexp(1) for kind, found in logits.items()}
    yield "third neighbour, before the last layer", cosines(hidden, hidden[OWN])
    yield "third neighbour, the head's input", cosines(of, of[OWN])
    yield "the same, among training pictures", cosines(of, train)
    yield "the head's input, off the training pictures' components", residuals(of, train)


def cosines(of: Of, known: Tensor) -> Of:
    """Distances of the third nearest; own pictures are no neighbours of their own."""
    found = {}
    for kind, some in of.items():
        alike = nn.functional.normalize(some, dim=1) @ nn.functional.normalize(known, dim=1).T
        if some is known:
            alike.fill_diagonal_(-torch.inf)
        found[kind] = 1 - alike.topk(3, dim=1).values[:, -1]
    return found


def by_traits(of: Of) -> Of:
    """Ours; each of the own among the others."""
    found = {kind: unfamiliarity(known_of(of[OWN]), some) for kind, some in of.items()}
    rows = torch.arange(len(of[OWN]))
    found[OWN] = torch.cat(
        [unfamiliarity(known_of(of[OWN][rows != row]), of[OWN][row : row + 1]) for row in rows]
    )
    return found


def known_of(traits: Tensor) -> Familiarity:
    """Of enough pictures."""
    known = remember(traits)
    assert known, "fewer than twenty pictures have validated"
    return known


def residuals(of: Of, train: Tensor, share: float = 0.9) -> Of:
    """What principal components with that share of the variance leave of a picture's features."""
    mean = train.mean(0)
    _, deviations, directions = torch.linalg.svd(train - mean, full_matrices=False)
    known = (deviations**2).cumsum(0) / (deviations**2).sum()
    kept = directions[: int(torch.searchsorted(known, share)) + 1]
    found = {}
    for kind, some in of.items():
        centred = some - mean
        found[kind] = (centred - centred @ kept.T @ kept).norm(dim=1) / some.norm(dim=1)
    return found


def area(own: Tensor, other: Tensor) -> float:
    """Under the curve: how often a strange picture has more than one of the own."""
    truth = np.repeat([0, 1], [len(own), len(other)])
    return float(roc_auc_score(truth, torch.cat([own, other]).numpy()))


def false_alarms(own: Tensor) -> list[float]:
    """The share of pictures above the limit that the other half of them has set."""
    found = []
    for seed in range(HALVES):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(own)))
        half, rest = order[: len(own) // 2], order[len(own) // 2 :]
        if known := remember(own[half]):  # of very few pictures there are no halves
            found.append(float((unfamiliarity(known, own[rest]) > 1).float().mean()))
    return found


def judged(run: Path, strange: dict[str, Path], place: Path) -> pd.DataFrame:
    """A row a score, a column a kind: areas; the last row says what is found, and in vain."""
    checkpoint = load_checkpoint(run)
    facts = checkpoint["hyper_parameters"]
    network, table = load_network(checkpoint).eval(), csv_table(run / "pictures.csv")
    root = open_again(run, read_config(run).data).root
    train, valid = (list(table["file"][table["is_valid"] == which]) for which in (False, True))
    others = strange | change_all(root, valid, place)
    folders = {OWN: (root, valid)}
    for kind, folder in others.items():
        files = pictures_in(folder)
        folders[kind] = (folder, files[:: -(-len(files) // AT_MOST)])

    def by(answer: Answer) -> Of:
        return {kind: asked(network, facts, *where, answer) for kind, where in folders.items()}

    last, traits = by(features_of), by(traits_of)
    learned = asked(network, facts, root, train, features_of)
    ways = dict(scores(network.split_head()[1], learned, last)) | {"ours": by_traits(traits)}
    areas = {
        name: {kind: area(found[OWN], found[kind]) for kind in others}
        for name, found in ways.items()
    }
    known = known_of(traits[OWN])
    beyond = {kind: unfamiliarity(known, traits[kind]) > 1 for kind in others}
    areas["found by unfamiliar=true"] = {
        kind: float(f.float().mean()) for kind, f in beyond.items()
    }
    found = pd.DataFrame(areas).T
    found.loc[found.index[-1], OWN] = np.mean(false_alarms(traits[OWN]) or np.nan)
    return found


def main() -> None:
    """Print the mean over the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--others", nargs="*", default=[], help="NAME=FOLDER")
    told = parser.parse_args()
    others = {name: Path(path) for name, path in (one.split("=", 1) for one in told.others)}
    with tempfile.TemporaryDirectory() as folder:
        kinds = draw_all(Path(folder)) | others
        tables = [
            judged(run, kinds, Path(folder) / str(number)) for number, run in enumerate(told.runs)
        ]
    mean = pd.concat(tables).groupby(level=0)[list(tables[0])].mean().loc[tables[0].index]
    print(mean.round(3).to_markdown())


if __name__ == "__main__":
    main()
