"""Confidence before and after its temperature, and sets of classes, on pictures not fitted on.

    python -m benchmarks.calibration outputs/SWEEP [outputs/SWEEP ...]

Each run's validation pictures are halved twenty times: one half calibrates, the other judges.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import named_runs
from paddy_lightning.insight.interpret import calibration_error, reliability
from paddy_lightning.runs.calibration import SMALLEST, bound, calibrate, candidates, tempered
from paddy_lightning.runs.run_folder import read_predictions

HALVES = 20
COVERAGES = (0.9, 0.95)


def judged(valid: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A row for each picture of the half that judges: confidence, rightness, loss and sets."""
    class_names = list(valid.columns[5:])
    shares = valid[class_names].to_numpy()
    truth = pd.Categorical(valid["label"], class_names).codes
    order = np.random.default_rng(seed).permutation(len(valid))
    fits, judges = np.split(order, [len(order) // 2])
    calibration = calibrate(shares[fits], truth[fits])
    before, labels = shares[judges], truth[judges]
    after = tempered(before, calibration.temperature)
    rows = np.arange(len(judges))
    found: dict[str, Any] = {"label": labels, "predicted": before.argmax(1)}
    for way, probabilities in (("before", before), ("after", after)):
        found[f"confidence {way}"] = probabilities.max(1)
        found[f"loss {way}"] = -np.log(probabilities[rows, labels].clip(SMALLEST))
    for coverage in COVERAGES:
        try:
            sets = candidates(after, bound(calibration, coverage))
        except UserError:  # too few pictures to promise that
            continue
        found[f"held {coverage}"], found[f"size {coverage}"] = sets[rows, labels], sets.sum(1)
    return pd.DataFrame(found | {"temperature": calibration.temperature})


def row_of(runs: list[Path]) -> dict[str, str]:
    """What the halves of all runs say, each half of all runs together."""
    tables = [read_predictions(run / "valid_predictions.csv") for run in runs]
    halves = [pd.concat([judged(table, seed) for table in tables]) for seed in range(HALVES)]
    every = pd.concat(halves)
    errors = {
        way: np.mean(
            [
                calibration_error(
                    reliability(half.assign(confidence=half[f"confidence {way}"], loss=0))
                )
                for half in halves
            ]
        )
        for way in ("before", "after")
    }
    row = {
        "runs": str(len(runs)),
        "that calibrate": str(len(tables[0]) // 2),
        "temperature": f"{every['temperature'].median():.2f}",
        "loss": " / ".join(f"{every[f'loss {way}'].mean():.4f}" for way in errors),
        "calibration error": " / ".join(f"{error:.4f}" for error in errors.values()),
    }
    for coverage in COVERAGES:
        name = f"{coverage} held (spread), classes"
        row[name] = "too few"
        if f"held {coverage}" in every:
            held = np.array([half[f"held {coverage}"].mean() for half in halves])
            size = every[f"size {coverage}"].mean()
            row[name] = f"{held.mean():.3f} ({held.std(ddof=1):.3f}), {size:.2f}"
    return row


def main() -> None:
    """Print a row for each argument."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweeps", nargs="+", help="a sweep's folder, or runs separated by commas")
    rows = []
    for sweep in parser.parse_args().sweeps:
        runs = named_runs(sweep.split(",") if "," in sweep else sweep)
        rows.append({"": Path(sweep.split(",")[0]).name, **row_of(runs)})
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
