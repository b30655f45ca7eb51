"""``paddy labels``: which labels are likely wrong, as a table, and as a page to mend them on."""

import base64
import hashlib
import io
import json
import logging
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from paddy_lightning.atomic import written_whole
from paddy_lightning.command_configs import LabelsConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.formats import opened
from paddy_lightning.data.labels import csv_table
from paddy_lightning.data.presize import upright_rgb
from paddy_lightning.data.split import ALIKE
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import named_runs
from paddy_lightning.insight.grad_cam import Picture, pictures_with_maps
from paddy_lightning.insight.label_issues import COLUMNS, Said, label_issues, out_of_fold
from paddy_lightning.lettering import printable
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.run_folder import read_config, read_predictions
from paddy_lightning.runs.summary import FINISHED, read_summary
from paddy_lightning.runs.trained import load_checkpoint
from paddy_lightning.runs.whereabouts import data_of

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
ENDS = {"style": "css", "script": "js"}  # of the files that become parts of the page
SAVED = "labels_corrected.csv"
MOST = 300  # pictures on a page: its size, and somebody's patience
TOLD = 10  # of them on the terminal
THUMBNAIL = (720, 480)  # width and height that a picture may have on the page, at most
QUALITY = 80  # of its JPEG
MAP_SHARE = 0.55  # of the map's colours over what the network saw
GUESSES = 2


@left_as_found()
def run_labels(config: LabelsConfig, run_dir: Path) -> pd.DataFrame:
    """``paddy labels``: write ``labels.csv`` and ``labels.html``, and print the first suspects.

    Returns:
        As ``label_issues``.

    Raises:
        UserError: No runs over all folds there.
    """
    folders = named_runs(config.runs)
    folder = Path(config.output) if config.output else run_dir
    said = out_of_fold(folders)
    finished = [run for run in folders if read_summary(run).get("status") in FINISHED]
    root = root_of(finished[0])
    issues = label_issues(said, root)
    write_table(folder / "labels.csv", issues[COLUMNS])
    log.info("%s", report(issues, said.answers))
    if root is not None:
        write_page(folder / "labels.html", issues, said, finished, root)
        log.info("labels.csv has all pictures; open %s and mend them", folder / "labels.html")
    return issues


def root_of(run_dir: Path) -> Path | None:
    """The folder of a run's pictures; None where they are no longer there, which is told."""
    try:
        try:
            return data_of(load_checkpoint(run_dir)["hyper_parameters"]).root
        except UserError:  # some keep the tables alone
            return open_data(read_config(run_dir).data).root
    except UserError as error:
        log.warning("no page, and no look for pictures alike: %s", error)
        return None


def to_look_at(issues: pd.DataFrame) -> pd.DataFrame:
    """The rows that a page shows: suspects, and whatever looks like one of another label."""
    return issues[~issues["keep"] | (issues["other"] != "")]


def report(issues: pd.DataFrame, number: int) -> str:
    """How many labels are suspected, and the first of them."""
    suspected = issues[~issues["keep"]]
    answers = f"{number} answers" if number > 1 else "an answer"
    err = (issues["suggested"] != issues["label"]).mean()
    lines = [
        f"{len(suspected)} of {len(issues)} labels are suspected, by {answers} a picture of"
        f" networks that did not train on it; they err on {err:.0%} of all, and so on some of these"
    ]
    for row in suspected.head(TOLD).itertuples():
        lines.append(f"  {printable(row.file)}: {row.why}")
    if len(suspected) > TOLD:
        lines.append(f"  and {len(suspected) - TOLD} more")
    return "\n".join(lines)


def write_page(path: Path, issues: pd.DataFrame, said: Said, runs: list[Path], root: Path) -> None:
    """One file with all it needs: pictures, maps, and the table to save.

    Args:
        path: Of the page.
        issues: Of ``label_issues``.
        said: What the networks said.
        runs: The finished runs, whose checkpoints give the maps.
        root: The folder of the pictures.
    """
    shown = to_look_at(issues)
    if len(shown) > MOST:
        log.info("the page shows the first %d of %d; mend and train those first", MOST, len(shown))
    shown = shown.head(MOST)
    table = csv_table(runs[0] / "pictures.csv").drop(columns=["is_valid", ALIKE], errors="ignore")
    told = page_data(shown, table, said, root, maps_of(shown, runs))
    page = (STATIC / "labels.html").read_text("utf-8")
    parts = {name: (STATIC / f"labels.{end}").read_text("utf-8") for name, end in ENDS.items()}
    # "<" could end the script that the data are in; what is no UTF-8 becomes \udc80 and so on.
    parts["told"] = json.dumps(told).replace("<", "\\u003c")
    for name, text in parts.items():
        page = page.replace(f"/*{name}*/", text, 1)
    with written_whole(path) as temporary:
        temporary.write_text(page, "utf-8")


def page_data(
    shown: pd.DataFrame,
    table: pd.DataFrame,
    said: Said,
    root: Path,
    maps: dict[str, Picture],
) -> dict[str, Any]:
    """What the page's script is told, as plain values."""
    rows = table.astype(str).to_numpy().tolist()
    classes = list(said.probabilities)
    place = dict(zip(table["file"], range(len(table)), strict=True))
    labels = dict(zip(said.table["file"], said.table["label"], strict=True))
    suspects = []
    for row in shown.to_dict("records"):
        likely = said.probabilities.iloc[row["row"]].nlargest(GUESSES)
        like = f"looks like {row['other']}, labelled {labels.get(row['other'])}"
        suspects.append(
            {
                "row": place[row["file"]],
                "own": classes.index(row["label"]),
                "suggested": classes.index(row["suggested"]),
                "file": printable(row["file"]),
                "label": printable(row["label"]),
                "why": row["why"],
                "guesses": [[printable(name), round(p, 4)] for name, p in likely.items()],
                "photo": thumbnail(root / row["file"]),
                "seen": blended(*maps[row["file"]]) if row["file"] in maps else None,
                "like": {"photo": thumbnail(root / row["other"]), "caption": printable(like)}
                if row["other"]
                else None,
            }
        )
    words = ["paddy", "train", f"data.csv={SAVED}", f"data.root={root.absolute()}"]
    told = {"header": list(table), "rows": rows, "suspects": suspects}
    key = hashlib.sha256(json.dumps([rows, [one["row"] for one in suspects]]).encode())
    return told | {
        "classes": classes,
        "shown": [printable(name) for name in classes],
        "saved": SAVED,
        "command": printable(shlex.join(words)),
        "key": f"paddy labels {key.hexdigest()[:16]}",
    }


def maps_of(shown: pd.DataFrame, runs: list[Path]) -> dict[str, Picture]:
    """By file, what a network that did not train on it saw, and what spoke for its suggestion.

    Without those whose checkpoint or picture is gone, which is told.
    """
    found: dict[str, Picture] = {}
    for run in runs:
        valid = set(read_predictions(run / "valid_predictions.csv")["file"]) - found.keys()
        rows = shown[shown["file"].isin(valid)]
        if len(rows):
            try:
                maps = pictures_with_maps(run, rows.rename(columns={"suggested": "predicted"}))
            except UserError as error:
                log.warning("no maps by %s: %s", run, error)
                continue
            found |= dict(zip(rows["file"], maps, strict=True))
    return found


def thumbnail(path: Path) -> str | None:
    """A picture in its own proportions, as the address of a JPEG; None if it cannot be read."""
    try:
        with opened(path) as image:
            image.draft("RGB", THUMBNAIL)
            small = upright_rgb(image)
    except UserError:
        return None
    small.thumbnail(THUMBNAIL)
    return as_address(small)


def blended(picture: np.ndarray, heat: np.ndarray) -> str:
    """A picture under its map of attention, as the address of a JPEG."""
    from matplotlib import colormaps

    colours = colormaps["inferno"](heat)[..., :3] * 255
    mixed = (1 - MAP_SHARE) * picture + MAP_SHARE * colours
    return as_address(Image.fromarray(mixed.round().astype(np.uint8)))


def as_address(image: Image.Image) -> str:
    """A picture as a ``data:`` address of its JPEG."""
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
