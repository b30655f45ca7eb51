"""As ``label_issues.py``, in minutes: logistic regression on frozen features, in five folds.

    python -m benchmarks.label_issues_frozen bean=FOLDER rice=FOLDER demo=FOLDER

Networks that err more often than fine-tuned ones, but all seeds of all sets.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.label_issues import (
    DEMO,
    FOLDS,
    SEEDS,
    SHARES,
    against_swapped,
    judged,
    mended,
    print_rows,
    reliability,
    row_of,
    swapped,
    true_labels,
)
from benchmarks.our_side import quiet
from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data.augment import Augment
from paddy_lightning.data.demo import generate
from paddy_lightning.data.presize import Presize, open_presized
from paddy_lightning.data.table import open_data
from paddy_lightning.insight.label_issues import Said, label_issues
from paddy_lightning.network.model import build_model

PRESIZE, SIZE, AT_ONCE = (192, 192), (128, 128), 32


def features(root: Path, files: pd.Series) -> np.ndarray:
    """float32 [N, width], what the head of ``tf_efficientnet_lite0`` is given."""
    network = build_model("tf_efficientnet_lite0", 2, "pretrained", SIZE).eval()
    network.head, _ = network.split_head()
    augment = Augment(SIZE, network.mean, network.std)
    found = []
    with torch.inference_mode():
        for some in np.array_split(files, max(1, len(files) // AT_ONCE)):
            opened = [open_presized(root / file, Presize(PRESIZE)) for file in some]
            found.append(network(augment.plain(torch.from_numpy(np.stack(opened)))))
    return np.asarray(torch.cat(found))


def regression() -> Any:
    """On standardised features, as in ``paddy probe``."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def said_of(seen: np.ndarray, files: pd.Series, labels: pd.Series) -> Said:
    """What regressions say of the pictures that they were not fitted to."""
    folds = KFold(FOLDS, shuffle=True, random_state=42)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations
        values = cross_val_predict(regression(), seen, labels, cv=folds, method="predict_proba")
    fold = np.zeros(len(files), int)
    for number, (_, rows) in enumerate(folds.split(files)):
        fold[rows] = number
    table = pd.DataFrame({"file": files, "label": labels, "fold": fold})
    return Said(table, pd.DataFrame(values, columns=sorted(set(labels))), 1)


def ways(said: Said, false: np.ndarray) -> list[dict[str, object]]:
    """What each of cleanlab's ways to order, and to suspect, finds."""
    values = said.probabilities.to_numpy()
    labels = pd.Categorical(said.table["label"], list(said.probabilities)).codes.astype(int)
    rows = []
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        order = get_label_quality_scores(labels, values, method=method).argsort(kind="stable")
        for share in SHARES:
            first = false[order[: round(share * len(order))]]
            rows.append({"way": f"first {share:.0%} by {method}", **of(first, false)})
    for by in ("low_self_confidence", "low_normalized_margin", "prune_by_noise_rate", "both"):
        suspected = find_label_issues(labels, values, filter_by=by, n_jobs=1)
        rows.append({"way": f"suspects by {by}", **of(false[suspected], false)})
    return rows


def of(hits: np.ndarray, false: np.ndarray) -> dict[str, float]:
    """Recall and precision of some of the labels."""
    return {"recall": hits.sum() / false.sum(), "precision": float(hits.mean())}


def errors(seen: np.ndarray, files: pd.Series, share: float, seed: int) -> dict[str, pd.DataFrame]:
    """Predictions of each fifth, which had no part in mending the labels of the rest."""
    rows: dict[str, list[pd.DataFrame]] = {}
    for rest, held in KFold(FOLDS, shuffle=True, random_state=seed).split(files):
        others = files.iloc[rest].reset_index(drop=True)
        labels = swapped(others, share, seed)
        issues = label_issues(said_of(seen[rest], others, labels), None)
        ways = {"swapped": labels}
        ways |= {way: mended(issues, way)["label"] for way in ("suggested", "seen")}
        judged_by = files.iloc[held].reset_index(drop=True)
        for way, chosen in (ways | {"none swapped": true_labels(others)}).items():
            said = regression().fit(seen[rest], chosen.to_numpy()).predict(seen[held])
            table = pd.DataFrame({"file": judged_by, "label": true_labels(judged_by)})
            rows.setdefault(way, []).append(table.assign(predicted=said))
    return {way: pd.concat(tables) for way, tables in rows.items()}


@quiet()
def main(words: list[str]) -> None:
    """Print the tables."""
    rows, all_issues, all_ways = [], [], []
    after: dict[tuple[str, float], dict[str, list[pd.DataFrame]]] = {}
    for name, _, place in (word.partition("=") for word in words):
        root = Path(place)
        if name == "demo":
            root = generate(root, DEMO, 1) / "train_images"
        files = open_data(DataConfig(Source.folder, str(root))).train["file"]
        seen = features(root, files)
        for share in (0.0, *SHARES):
            for seed in SEEDS if share else SEEDS[:1]:
                said = said_of(seen, files, swapped(files, share, seed))
                issues = judged(label_issues(said, root))
                rows.append(row_of(name, share, issues))
                if share:
                    all_issues.append(issues)
                    false = said.table["label"] != true_labels(files)
                    all_ways += ways(said, false.to_numpy())
                    for way, table in errors(seen, files, share, seed).items():
                        after.setdefault((name, share), {}).setdefault(way, []).append(table)
    print_rows(rows)
    print(reliability(pd.concat(all_issues)).to_markdown(floatfmt=".2f"), end="\n\n")
    means = pd.DataFrame(all_ways).groupby("way", sort=False).mean()
    print(means.to_markdown(floatfmt=".3f"), end="\n\n")
    compared = [
        {"set": name, "swapped": share, **row}
        for (name, share), tables in after.items()
        for row in against_swapped({way: pd.concat(some) for way, some in tables.items()})
    ]
    print(pd.DataFrame(compared).to_markdown(index=False, floatfmt=".4f"))


if __name__ == "__main__":
    main(sys.argv[1:])
