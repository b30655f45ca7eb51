"""A greedy soup: several runs' weights averaged into one network, as long as that helps.

Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy
without increasing inference time, 2022. Averages mean something only among networks that lie close
together: the members must have begun with the same weights, head included, by one ``start=``.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from paddy_lightning.atomic import write_json
from paddy_lightning.command_configs import SoupConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.data.datamodule import PaddyDataModule
from paddy_lightning.data.labels import csv_table
from paddy_lightning.errors import UserError
from paddy_lightning.insight.compare import named_runs
from paddy_lightning.network.classifier import Classifier
from paddy_lightning.prediction.views import predict_views
from paddy_lightning.quiet import left_as_found
from paddy_lightning.runs.pictures import open_again
from paddy_lightning.runs.run_folder import new_run_folder, read_config, save_config, short_names
from paddy_lightning.runs.summary import FINISHED, Summary, read_summary, summarised, versions
from paddy_lightning.runs.trained import load_checkpoint, load_network
from paddy_lightning.training.build import build_datamodule
from paddy_lightning.training.checkpoints import WholeFiles
from paddy_lightning.training.evaluation import calibrations, evaluate, remembered
from paddy_lightning.training.fine_tune import step_seed

log = logging.getLogger(__name__)
ALIKE = ("arch", "arch_args", "class_names", "presize", "size", "resize", "pad_mode")  # of members
StateDict = dict[str, Tensor]


def run_soup(config: SoupConfig, run_dir: Path) -> None:
    """``paddy soup``.

    Raises:
        UserError: As ``soup``.
    """
    folders = [folder.resolve() for folder in named_runs(config.runs)]
    soup(list(dict.fromkeys(folders)), run_dir)


@left_as_found()
def soup(runs: Sequence[str | Path], run_dir: str | Path | None = None) -> Summary:
    """Average the runs one after the other, best first; one that adds errors is left out.

    Args:
        runs: Folders of finished runs that validated on the same pictures.
        run_dir: The folder to make; None for one under ``outputs/``.

    Returns:
        Also ``summary.json`` of a folder that ``paddy predict`` takes like a run's: the ``members``
        kept, ``error_rate`` and ``valid_loss``, and the lowest ``member_error_rate``. The choice
        was made on the pictures these errors are of, which flatters.

    Raises:
        UserError: Runs that are not done, or that cannot be averaged.
    """
    folders = [Path(run) for run in runs]
    refuse_unfinished(folders)
    configs = [read_config(folder) for folder in folders]
    checkpoints = [load_checkpoint(folder) for folder in folders]
    tables = [csv_table(folder / "pictures.csv") for folder in folders]
    refuse_strangers(folders, configs, checkpoints, tables)
    errors = {n: float(read_summary(folder)["error_rate"]) for n, folder in enumerate(folders)}
    with new_run_folder(run_dir) as folder:
        config, table, facts = configs[0], tables[0], checkpoints[0]["hyper_parameters"]
        root = open_again(folders[0], config.data).root
        datamodule = build_datamodule(config, root, table, facts["class_names"], facts)
        pot = Pot(checkpoints[0], datamodule, table, config, folder)
        save_config(folder, config)
        write_table(folder / "pictures.csv", table)
        first: Summary = {"run_dir": str(folder), "arch": facts["arch"], "versions": versions()}
        with summarised(folder, first | {"status": "running"}) as summary:
            order = sorted(errors, key=errors.__getitem__)
            weights = {folders[n]: checkpoints[n]["state_dict"] for n in order}
            summary |= cook(pot, weights) | {"member_error_rate": min(errors.values())}
            write_json(folder / "summary.json", summary)
        log.info(
            "%d of %d runs: error rate %.4f, the best of them alone %.4f, on the pictures by which"
            " they were chosen, which flatters; everything is in %s",
            *(len(summary["members"]), len(folders), summary["error_rate"]),
            *(summary["member_error_rate"], folder),
        )
    return summary


def cook(pot: "Pot", weights: dict[Path, StateDict]) -> Summary:
    """Taste one member after the other, and keep those that add no error; the last kept soup's."""
    best: Summary = {}
    names = short_names(list(weights))
    for name, (folder, state_dict) in zip(names, weights.items(), strict=True):
        error_rate = pot.taste(state_dict)
        helps = not best or error_rate <= best["error_rate"]
        log.info(
            "%s: error rate %.4f with it, %s", name, error_rate, "kept" if helps else "left out"
        )
        if helps:
            best = pot.keep() | {"members": [*best.get("members", []), str(folder)]}
    return best


class Pot:
    """The average so far, and what one more would make of it.

    Args:
        checkpoint: Of any member.
        datamodule: Of the members' pictures.
        table: The pictures, split.
        config: Of any member.
        folder: Gets ``checkpoints/best.ckpt`` and ``valid_predictions.csv`` of what is kept.
    """

    def __init__(
        self,
        checkpoint: dict[str, Any],
        datamodule: PaddyDataModule,
        table: pd.DataFrame,
        config: TrainConfig,
        folder: Path,
    ) -> None:
        self.checkpoint, self.datamodule, self.folder = checkpoint, datamodule, folder
        self.valid = table[table["is_valid"]]
        self.config = config
        self.class_names = checkpoint["hyper_parameters"]["class_names"]
        self.module = Classifier(load_network(checkpoint), len(self.class_names))
        self.total: StateDict = {}
        self.members = 0
        datamodule.tta = 0

    def taste(self, weights: StateDict) -> float:
        """The error of the average with one more member."""
        more = {name: tensor.double() for name, tensor in weights.items()}
        self.candidate = {name: tensor + self.total.get(name, 0) for name, tensor in more.items()}
        count = self.members + 1
        mean = {name: (self.candidate[name] / count).to(weights[name].dtype) for name in weights}
        self.module.load_state_dict(mean)
        if count > 1:
            self._renew_statistics()
        shown = self.datamodule.shown()
        self.views = predict_views(self.module.model, shown, self.config.precision).numpy()
        return self._evaluated(None)["error_rate"]

    def keep(self) -> Summary:
        """Take the member in, and save what it made of the average; its error and loss."""
        self.total, self.members = self.candidate, self.members + 1
        state_dict = {name: t.cpu() for name, t in self.module.state_dict().items()}
        path = self.folder / "checkpoints" / "best.ckpt"
        path.parent.mkdir(exist_ok=True)
        told = calibrations(self.valid, self.views, self.class_names, tta=False)
        known = remembered(self.module.model, self.datamodule.shown(), self.config.precision)
        changes = {"state_dict": state_dict, "calibration": told, "familiarity": known}
        WholeFiles().save_checkpoint(self.checkpoint | changes, path)
        return self._evaluated(self.folder)

    def _evaluated(self, folder: Path | None) -> Summary:
        return evaluate(self.valid, self.views, self.class_names, False, folder)

    def _renew_statistics(self) -> None:
        """Those of normalisation layers, over an epoch of training pictures: no average fits."""
        torch.manual_seed(step_seed(self.config.seed, 0, self.members))  # of its dropout
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        update_bn(self._training_pictures(device), self.module.model.to(device), device)

    def _training_pictures(self, device: torch.device) -> Iterator[Tensor]:
        for batch in self.datamodule.train_dataloader():
            first_row, images = int(batch.index[0]), batch.image.to(device)
            yield self.datamodule.augment.random(images, batch.index.to(device), 0, 0, first_row)


def refuse_unfinished(folders: Sequence[Path]) -> None:
    """Return if all are done.

    Raises:
        UserError: One is not.
    """
    for folder in folders:
        if read_summary(folder).get("status") not in FINISHED:
            raise UserError(f"{folder}: is not done, so it has no weights to average")


def refuse_strangers(
    folders: Sequence[Path],
    configs: Sequence[TrainConfig],
    checkpoints: Sequence[dict[str, Any]],
    tables: Sequence[pd.DataFrame],
) -> None:
    """Return if averages of these runs mean something, and their errors can be compared.

    Raises:
        UserError: Two are of different networks, beginnings or pictures.
    """
    if configs[0].start is None:
        raise UserError(
            f"{folders[0]}: began with a random head, and averages of such runs mean nothing: train"
            " one network, and then the members from it, each with start=RUN and a seed of its own"
        )
    for folder, config, checkpoint, table in zip(
        folders, configs, checkpoints, tables, strict=True
    ):
        if config.start != configs[0].start:
            raise UserError(f"{folder}: began with start={config.start}, not {configs[0].start}")
        ours, theirs = checkpoints[0]["hyper_parameters"], checkpoint["hyper_parameters"]
        for name in ALIKE:
            if ours.get(name) != theirs.get(name):
                raise UserError(f"{folder}: has {name}={theirs.get(name)}, not {ours.get(name)}")
        columns = ["file", "label", "is_valid"]
        if not table[columns].equals(tables[0][columns]):
            raise UserError(
                f"{folder}: has other pictures, or another split, than {folders[0]}: its error says"
                " nothing of a common average"
            )
