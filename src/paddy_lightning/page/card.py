"""The page's README: what the network is, how often it is wrong, and where not to believe it.

Its head is what Hugging Face wants of a static Space.
"""

import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from paddy_lightning.insight.interpret import (
    Interpretation,
    calibration_error,
    look_into,
    reliability,
)
from paddy_lightning.lettering import printable
from paddy_lightning.runs.calibration import tempered
from paddy_lightning.runs.summary import read_summary

RIGHT = 0.9  # share of the answers given as sure that are to be right
LEAST = 10  # pictures that such a share must come from
PAIRS = 5
TEXT = """
{title} looks at a photo and says which of {count} classes it shows. It runs in the browser: a photo
never leaves the device. Made by Paddy Lightning {version}.

## The network

`{arch}`, {parameters} parameters, trained from weights whose licence is `{licence}`. It sees a
photo at {size} (height x width) pixels (`resize={resize}`). It was trained by

    {command}

## The data

{train} pictures to train on, {valid} others to validate: the numbers below are theirs.

{classes}

## How often it is wrong

Of {valid} validation pictures it gets {wrong} wrong: {error} (95 % interval {low} to {high}),
macro-F1 {f1}. That holds for pictures like these, from the same places, cameras and season;
elsewhere it will be wrong more often.{chosen}

{confused}

## How far to believe its percentages

Its confidence is {gap} away from the share of right answers, on average (expected calibration
error). {sure}

## Limits

- It knows these classes alone, and answers with one of them whatever is on the photo.
- It has not been tried on other varieties, places or cameras than those of its data.
- What it looked at is a rough map (Grad-CAM), not a reason.
- It is no diagnosis: ask somebody who knows before you spray, uproot or sell.

## Licence

The page is Apache-2.0; `LICENSES.txt` has the licences of all it brings. Whether the trained
network may be used depends on the licence of the pictures, too, which is not known here.

## Put it online

It is a folder of static files, for any host that serves them over https, such as a static Space of
Hugging Face, whose settings are at the top of this file, or GitHub Pages.
"""


def as_shown(valid: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """``valid_predictions.csv`` with the confidence that the page would show."""
    shares = tempered(valid[list(valid.columns[5:])].to_numpy(), temperature)
    return valid.assign(confidence=shares.max(1))


def sure_from(valid: pd.DataFrame) -> float | None:
    """The lowest confidence from which on nine in ten validation pictures are right; None: none.

    Args:
        valid: With ``label``, ``predicted`` and ``confidence``.
    """
    ordered = valid.sort_values("confidence", ascending=False, ignore_index=True)
    right = (ordered["label"] == ordered["predicted"]).to_numpy()
    counts = np.arange(1, len(right) + 1)
    last = (ordered["confidence"] != ordered["confidence"].shift(-1)).to_numpy()  # of equal ones
    good = np.flatnonzero((right.cumsum() / counts >= RIGHT) & (counts >= LEAST) & last)
    return float(ordered["confidence"][good[-1]]) if len(good) else None


def about(found: Interpretation) -> str:
    """How often it is wrong, in two sentences for the foot of the page."""
    wrong, total = _wrong(found)
    low, high = found.summary["error_low"], found.summary["error_high"]
    return (
        f"Of {total} photos it had not seen, this network got {wrong} wrong:"
        f" {100 * wrong / total:.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f} %). It"
        " answers with one of its"
        f" {len(found.classes)} classes whatever is on a photo."
    )


def model_card(run_dir: Path, title: str, facts: dict[str, Any], valid: pd.DataFrame) -> str:
    """README.md, from a run's own numbers.

    Args:
        run_dir: The run folder.
        title: Of the page.
        facts: The metadata of the exported network.
        valid: As ``as_shown`` returns it.
    """
    found, summary = look_into(run_dir), read_summary(run_dir)
    wrong, total = _wrong(found)
    pairs = found.confused.head(PAIRS).map(printable)
    pairs.columns = ["shows", "taken for", "pictures"]
    text = TEXT.format(
        title=printable(title),
        count=len(found.classes),
        version=facts["paddy_lightning"],
        arch=facts["arch"],
        parameters=f"{summary.get('num_parameters', 0):,}",
        licence=facts["licence"],
        size="x".join(map(str, facts["size"])),
        resize=facts["resize"],
        command=_command(summary),
        train=summary.get("num_train"),
        valid=total,
        classes=found.classes.map(_cell).to_markdown(index=False, disable_numparse=True),
        wrong=wrong,
        error=f"{wrong / total:.1%}",
        low=f"{found.summary['error_low']:.1%}",
        high=f"{found.summary['error_high']:.1%}",
        f1=f"{found.summary['macro_f1']:.3f}",
        chosen=_chosen(summary),
        confused=pairs.to_markdown(index=False) if len(pairs) else "It takes none for another.",
        gap=f"{calibration_error(reliability(valid)):.1%}",
        sure=_told_sure(sure_from(valid)),
    )
    return _head(title, facts["licence"]) + text


def _head(title: str, licence: str) -> str:
    known = licence not in ("none", "unknown")
    head = {
        "title": printable(title),
        "emoji": "🌿",
        "colorFrom": "green",
        "colorTo": "yellow",
        "sdk": "static",
        "pinned": False,
        "license": licence if known else "other",
    }
    told = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{told}---\n\n# {printable(title)}\n"


def _wrong(found: Interpretation) -> tuple[int, int]:
    counts = found.matrix.to_numpy()
    return int(counts.sum() - np.trace(counts)), int(counts.sum())


def _command(summary: dict[str, Any]) -> str:
    """As it was typed, but for places on the machine where that was."""
    words = shlex.split(summary.get("command") or "")
    if "train" not in words:
        return "a call from Python"
    kept = [word for word in words[words.index("train") :] if not {"/", "\\"} & {*word}]
    return printable(shlex.join(["paddy", *kept]))


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else printable(value).replace("|", r"\|")


def _chosen(summary: dict[str, Any]) -> str:
    if summary.get("keep") in ("error", "loss"):
        return " The epoch was chosen by these pictures, which flatters a little."
    return ""


def _told_sure(sure: float | None) -> str:
    if sure is None:
        return "Nowhere is it right nine times in ten, so the page always says that it is not sure."
    percent = math.floor(1000 * sure) / 10
    return (
        f"From {percent} % on, nine in ten validation pictures were right; below, the page says"
        " that it is not sure."
    )
