"""What each command of ``paddy`` is for, what it can be told, and what it does.

Tasks import what they need, and say what is to be done with it: ``--help`` and a mistake are
answered at once.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from paddy_lightning.command_configs import (
    BundleConfig,
    CompareConfig,
    DownloadConfig,
    ExportConfig,
    InterpretConfig,
    LabelsConfig,
    PageConfig,
    PredictConfig,
    ProbeConfig,
    PushConfig,
    SoupConfig,
    SubmitConfig,
    SurveyConfig,
)
from paddy_lightning.config import TrainConfig

Work = Callable[[], object]


class Command(NamedTuple):
    """One of the commands.

    Attributes:
        about: What it is for, in a line.
        kind: The config it takes; ``conf/`` has a file of its name.
        task: Imports what it does with that config and the folder Hydra made for it.
    """

    about: str
    kind: type[Any]
    task: Callable[[Any, Path], Work]


def download(config: DownloadConfig, run_dir: Path) -> Work:
    """Download, unpack and check, unless that is done."""
    from paddy_lightning.kaggle.download import run_download

    return partial(run_download, config)


def survey(config: SurveyConfig, run_dir: Path) -> Work:
    """Check every file, or show the pipeline at work."""
    if config.show:
        from paddy_lightning.training.check import check

        check(config)
        from paddy_lightning.insight.show import run_show

        return partial(run_show, config, run_dir)
    from paddy_lightning.insight.survey import run_survey

    return partial(run_survey, config, run_dir)


def probe(config: ProbeConfig, run_dir: Path) -> Work:
    """Check every candidate, then compare their frozen features, and keep a head for each."""
    from paddy_lightning.training.check import check

    for candidate in config.candidates():
        check(candidate)
    from paddy_lightning.training.probe import run_probe

    return partial(run_probe, config, run_dir)


def find_lr(config: TrainConfig, run_dir: Path) -> Work:
    """Search, and print the four rates."""
    from paddy_lightning.training.check import check

    check(config)
    from paddy_lightning.training.train import find_lr

    return partial(find_lr, config, run_dir)


def train(config: TrainConfig, run_dir: Path) -> Work:
    """Train here, or in a process a device."""
    from paddy_lightning.cli.launch import needs_ranks, run_ranks
    from paddy_lightning.runs.run_folder import whole_config
    from paddy_lightning.training.check import check

    whole = whole_config(config)
    # A wrong value is told before the slow imports; a run that goes on has weights of its own.
    check(replace(whole, weights="none") if config.resume else whole)
    if needs_ranks(whole):
        return partial(run_ranks, whole, run_dir)
    from paddy_lightning.training.train import train

    return partial(train, config, run_dir)


def interpret(config: InterpretConfig, run_dir: Path) -> Work:
    """Write tables and figures into the run folder, and print the card."""
    from paddy_lightning.insight.interpret import run_interpret

    return partial(run_interpret, config)


def compare(config: CompareConfig, run_dir: Path) -> Work:
    """Write the comparison, and print it."""
    from paddy_lightning.insight.comparison_page import run_compare

    return partial(run_compare, config, run_dir)


def labels(config: LabelsConfig, run_dir: Path) -> Work:
    """Write the table and the page, and print what is suspected first."""
    from paddy_lightning.insight.labels_page import run_labels

    return partial(run_labels, config, run_dir)


def soup(config: SoupConfig, run_dir: Path) -> Work:
    """Average weights as long as it helps."""
    from paddy_lightning.training.soup import run_soup

    return partial(run_soup, config, run_dir)


def predict(config: PredictConfig, run_dir: Path) -> Work:
    """Predict, and write beside the checkpoint unless ``output=`` says otherwise."""
    from paddy_lightning.prediction.predict import run_predict

    return partial(run_predict, config)


def export(config: ExportConfig, run_dir: Path) -> Work:
    """Write the ONNX file into the run folder, once it has said what the checkpoint says."""
    from paddy_lightning.export.export import run_export

    return partial(run_export, config)


def page(config: PageConfig, run_dir: Path) -> Work:
    """Write the folder into the run folder, and serve it if asked to."""
    from paddy_lightning.page.page import run_page

    return partial(run_page, config)


def submit(config: SubmitConfig, run_dir: Path) -> Work:
    """Check, ask, send, and write the score into the run."""
    from paddy_lightning.kaggle.submit import run_submit

    return partial(run_submit, config)


def bundle(config: BundleConfig, run_dir: Path) -> Work:
    """Write the folder beside the run unless ``output=`` says otherwise."""
    from paddy_lightning.kaggle.bundle import run_bundle

    return partial(run_bundle, config)


def push(config: PushConfig, run_dir: Path) -> Work:
    """Upload the data set, and have Kaggle run the notebook."""
    from paddy_lightning.kaggle.push import run_push

    return partial(run_push, config)


COMMANDS = {  # in the order of a day
    "download": Command("fetch a competition's files from Kaggle", DownloadConfig, download),
    "survey": Command("look at the data before training on it", SurveyConfig, survey),
    "probe": Command("which pretrained network suits the pictures", ProbeConfig, probe),
    "lr-find": Command("draw the loss over growing rates, and read four off", TrainConfig, find_lr),
    "train": Command(
        "train a network; -m: every combination of several values", TrainConfig, train
    ),
    "interpret": Command(
        "look into a finished run: who is taken for whom", InterpretConfig, interpret
    ),
    "compare": Command("lay runs side by side, with tests in pairs", CompareConfig, compare),
    "labels": Command(
        "which labels are likely wrong, and a page to mend them", LabelsConfig, labels
    ),
    "soup": Command("average the weights of runs that began with one start=", SoupConfig, soup),
    "predict": Command("predict pictures, and write the submission", PredictConfig, predict),
    "export": Command(
        "write a run as one ONNX file, for use without torch, and prove it", ExportConfig, export
    ),
    "page": Command("make a web page of a run, for a phone in the field", PageConfig, page),
    "submit": Command("send a submission to Kaggle, and wait for its score", SubmitConfig, submit),
    "bundle": Command(
        "pack a run and what it needs, for a notebook without internet", BundleConfig, bundle
    ),
    "push": Command("send a bundle to Kaggle, with a notebook that predicts", PushConfig, push),
}
A_DAY = (
    ("survey data=folder data.root=PICTURES", "one folder a class; data=demo draws some"),
    ("train data=folder data.root=PICTURES", "a run folder, with the error and a look inside"),
    ("train -m arch=resnet26d,convnext_small resize=pad,squish ...", "and which of them is best"),
    ("predict ckpt=outputs/RUN images=FOLDER tta=true", "predictions.csv, and submission.csv"),
)


def overview() -> str:
    """All commands in a line each, and the way of a day."""
    width = max(map(len, COMMANDS)) + 2
    commands = [f"  {name:{width}}{command.about}" for name, command in COMMANDS.items()]
    width = max(len(words) for words, _ in A_DAY) + 2
    day = [f"  paddy {words:{width}}{about}" for words, about in A_DAY]
    usage = "paddy COMMAND [knob=value ...]; paddy COMMAND --help lists its knobs"
    return "\n".join([usage, "", *commands, "", "A day:", *day])
