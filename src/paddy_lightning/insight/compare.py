"""Run folders -> one table, and what the numbers in it can tell."""

import re
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from paddy_lightning.config import MAY_CHANGE, TrainConfig, plain
from paddy_lightning.errors import UserError
from paddy_lightning.knob import FIND
from paddy_lightning.runs.evidence import (
    LEVEL,
    chance,
    error_interval,
    holm,
    paired,
    paired_repeats,
)
from paddy_lightning.runs.run_folder import read_predictions, short_names
from paddy_lightning.runs.summary import FINISHED, Summary, read_summary

REPEATS = {"seed", "fold"}  # the same experiment once more
SPOKEN = {"trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.logger"}
NO_SETTINGS = REPEATS | SPOKEN | MAY_CHANGE - {"trainer"}  # these change no number
MEANS = ("tta_error_rate", "valid_loss", "seconds")  # told beside the error of repeated runs
RESULTS = (
    *("lr_found", "error_rate", "error_low", "error_high", "tta_error_rate", "valid_loss"),
    *("macro_f1", "seconds", "images_per_second", "peak_memory_mb", "num_parameters"),
    *("status", "reason"),
)


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
        runs: A row a run, best first, and what is not done last: ``run``, the knobs that differ,
            the results (``lr_found`` of ``lr=find``, ``error_rate`` with its 95 % interval,
            ``tta_error_rate``, ``valid_loss``, ``macro_f1``, ``seconds``, ``images_per_second``,
            ``peak_memory_mb``, ``num_parameters``, ``status``, ``reason``) and ``against_best``,
            a sentence, whose p is corrected for the number of these tests.
        groups: A row a setting that was repeated with other seeds or folds: its knobs, ``runs``,
            the ``mean``, ``spread`` (standard deviation) of the error rates, the means of
            ``tta_error_rate``, ``valid_loss`` and ``seconds``, and, where two and more were
            repeated alike, ``against_best``, likewise.
        folds: A row a setting and seed that was trained on folds: its knobs, how many ``folds``
            are done, and, once all are, ``pictures``, ``error_rate`` with its 95 % interval and
            the ``file`` of the predictions, or what their ``problem`` is.
        out_of_fold: By the name of that file, the prediction of every picture by the run of this
            setting and seed that did not train on it: a row as in ``valid_predictions.csv``, and
            before the classes its ``fold``.
    """

    runs: pd.DataFrame
    groups: pd.DataFrame
    folds: pd.DataFrame
    out_of_fold: dict[str, pd.DataFrame]


def find_runs(folder: Path) -> list[Path]:
    """A run folder, or all runs right below a folder.

    Raises:
        UserError: There are none.
    """
    if (folder / "summary.json").is_file():
        return [folder]
    found = sorted((path.parent for path in folder.glob("*/summary.json")), key=_natural)
    if not found:
        raise UserError(f"runs={folder}: no run there (no summary.json)")
    return found


def named_runs(runs: Any) -> list[Path]:
    """All run folders that ``runs=`` names, a folder or a list of them.

    Raises:
        UserError: Nothing is named, or there are none.
    """
    if not runs:
        raise UserError("say which runs, with runs=SWEEP_FOLDER or runs=[RUN,RUN]")
    names = runs if isinstance(runs, list) else [runs]
    return [folder for name in names for folder in find_runs(Path(str(name)))]


def compare(folders: list[Path]) -> Comparison:
    """Compare runs by their folders alone; a folder that is named twice counts once."""
    folders = list({folder.resolve(): folder for folder in folders}.values())
    summaries = [read_summary(folder) for folder in folders]
    told = [read_knobs(*pair) for pair in zip(folders, summaries, strict=True)]
    knobs = pd.DataFrame(told, index=range(len(folders)))
    differing = [str(name) for name in knobs if knobs[name].nunique(dropna=False) > 1]
    every = pd.concat([knobs, pd.DataFrame(summaries).reindex(columns=list(RESULTS))], axis=1)
    every["run"] = short_names(folders)
    every["folder"] = pd.Series(folders, dtype=object)
    every["done"] = every["status"].isin(FINISHED)
    every = every.sort_values(
        ["done", "error_rate", "valid_loss"], ascending=[False, True, True], kind="stable"
    )
    predictions = {
        folder: read_predictions(path)
        for folder in every.loc[every["done"], "folder"]
        if (path := folder / "valid_predictions.csv").is_file()
    }
    told_of = against_best(predictions)
    every["against_best"] = [told_of.get(folder, "") for folder in every["folder"]]
    settings = [name for name in differing if name not in NO_SETTINGS]
    folds, out_of_fold = _out_of_fold(every, settings, predictions)
    runs = every[["run", *differing, *RESULTS, "against_best"]].reset_index(drop=True)
    return Comparison(runs, _group(every, settings, predictions), folds, out_of_fold)


def read_knobs(folder: Path, summary: Summary) -> dict[str, str]:
    """The knobs of a run as text, nested ones dotted; what Hydra kept where no run came of it.

    A rate that ``lr=find`` found is no knob: it differs by seed, and the setting is ``find``.

    Raises:
        UserError: Its config cannot be read.
    """
    for path in (folder / "config.yaml", folder / ".hydra" / "config.yaml"):
        if path.is_file():
            known = {field.name for field in fields(TrainConfig)}
            try:
                told = dict(yaml.safe_load(path.read_text("utf-8")))
            except (TypeError, ValueError, yaml.YAMLError) as error:
                raise UserError(f"{path}: not a config ({error})") from error
            told = {name: told[name] for name in told if name in known}
            with suppress(UserError):  # a refused value stays as it was typed
                told = plain(TrainConfig(**told))
            if summary.get("lr_found") is not None:
                told["lr"] = FIND
            return {name: _text(value) for name, value in _flat(told)}
    return {}


def against_best(predictions: dict[Path, pd.DataFrame]) -> dict[Path, str]:
    """Of each run but the first, which is the best: worse, or cannot tell, from how many pictures.

    Args:
        predictions: ``valid_predictions.csv`` by the run's folder.
    """
    if not predictions:
        return {}
    (_, best), *others = predictions.items()
    alike = {folder: paired(other, best) for folder, other in others if _same(best, other)}
    ps = dict(zip(alike, holm([p for _, _, p in alike.values()]), strict=True))
    told = dict.fromkeys(dict(others), "validated on other pictures: not comparable one by one")
    for folder, (ours, theirs, _) in alike.items():
        worse = ps[folder] < LEVEL
        told[folder] = (
            f"{'worse' if worse else f'cannot tell with {len(best)} pictures'}: {theirs} pictures"
            f" only the best gets right, {ours} only this ({chance(ps[folder])})"
        )
    return told


def _same(best: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two runs validated on the same pictures, with the same labels."""
    pictures = [set(zip(run["file"], run["label"], strict=True)) for run in (best, other)]
    return pictures[0] == pictures[1]


def _group(
    every: pd.DataFrame, settings: list[str], predictions: dict[Path, pd.DataFrame]
) -> pd.DataFrame:
    """``Comparison.groups``."""
    done = every[every["done"]]
    if not settings:
        done, settings = done.assign(setting="all"), ["setting"]
    by_setting = done.groupby(settings, dropna=False)
    runs = {name: of_one for name, of_one in by_setting if len(of_one) > 1}
    errors = {name: of_one["error_rate"] for name, of_one in runs.items()}
    names = sorted(runs, key=lambda name: float(errors[name].mean()))
    groups = pd.DataFrame(
        [
            {
                **dict(zip(settings, name, strict=True)),
                "runs": len(errors[name]),
                "mean": errors[name].mean(),
                "spread": errors[name].std(),
                **{mean: pd.to_numeric(runs[name][mean]).mean() for mean in MEANS},
            }
            for name in names
        ],
        columns=[*settings, "runs", "mean", "spread", *MEANS],
    )
    told = _settings_against_best([runs[name] for name in names], predictions)
    return groups.assign(against_best=told) if any(told) else groups


def _settings_against_best(
    settings: list[pd.DataFrame], predictions: dict[Path, pd.DataFrame]
) -> list[str]:
    """Of each setting but the first, which is the best: worse, or cannot tell, over all repeats."""
    repeats = [name for name in sorted(REPEATS) if settings and name in settings[0]]
    tables = [
        pd.concat([predictions[folder] for folder in runs["folder"] if folder in predictions])
        for runs in settings
    ]
    again = [sorted(map(tuple, runs[repeats].astype(str).to_numpy())) for runs in settings]
    tests = {
        number: paired_repeats(tables[number], tables[0])
        for number in range(1, len(settings))
        if again[number] == again[0] and _same(tables[0], tables[number])
    }
    ps = dict(zip(tests, holm([p for _, _, p in tests.values()]), strict=True))
    told = [""] * len(settings)
    for number, (more, count, _) in tests.items():
        worse = "worse" if ps[number] < LEVEL else f"cannot tell with {count} pictures"
        told[number] = f"{worse}: error {more:+.4f} ({chance(ps[number])})"
    return told


def _out_of_fold(
    every: pd.DataFrame, settings: list[str], predictions: dict[Path, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """``Comparison.folds`` and ``.out_of_fold``; none where the runs do not differ in their fold.

    Of two runs of the same fold, setting and seed the first that was named counts: to choose by
    the error would flatter.
    """
    names = [*settings, "seed"]
    parts = every[every["folder"].isin(list(predictions))].sort_index()
    if "fold" not in parts or every["fold"].nunique() < 2:
        return pd.DataFrame(), {}
    is_fold = parts["fold"].fillna("").str.isdecimal()
    parts = parts[is_fold].drop_duplicates([*names, "fold"])
    rows: list[dict[str, Any]] = []
    tables: dict[str, pd.DataFrame] = {}
    for values, group in parts.groupby(names, dropna=False):
        wanted = {str(fold) for fold in range(int(group["folds"].iloc[0]))}
        row = dict(zip(names, values, strict=True)) | {"folds": f"{len(group)} of {len(wanted)}"}
        folds = zip(group["folder"], group["fold"], strict=True)
        whole = pd.concat([_with_fold(predictions[folder], fold) for folder, fold in folds])
        split = [read_summary(folder) for folder in group["folder"]]
        whole_sets = {run.get("num_train", 0) + run.get("num_valid", 0) for run in split}
        if set(group["fold"]) == wanted and whole_sets == {whole["file"].nunique()} == {len(whole)}:
            file = "out_of_fold.csv" if len(parts) == len(group) else f"out_of_fold_{len(rows)}.csv"
            tables[file] = whole.sort_values("file", ignore_index=True)
            wrong = int((whole["label"] != whole["predicted"]).sum())
            low, high = error_interval(wrong, len(whole))
            row |= {"pictures": len(whole), "error_rate": wrong / len(whole)}
            row |= {"error_low": low, "error_high": high, "file": file}
        elif set(group["fold"]) == wanted:
            twice, known = int(whole["file"].duplicated().sum()), whole["file"].nunique()
            row["problem"] = f"{twice} pictures validate twice, {max(whole_sets) - known} never"
        rows.append({"problem": ""} | row)
    columns = [*names, "folds", "pictures", "error_rate", "error_low", "error_high", "file"]
    columns.append("problem")
    return pd.DataFrame(rows, columns=columns), tables


def _with_fold(table: pd.DataFrame, fold: str) -> pd.DataFrame:
    """``valid_predictions.csv`` with the fold before the classes, one of which may be called so."""
    of_fold = table.copy()
    of_fold.insert(min(5, table.shape[1]), "fold", int(fold), allow_duplicates=True)
    return of_fold


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, item in value.items():
        flat += (
            _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else [(prefix + name, item)]
        )
    return flat


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
