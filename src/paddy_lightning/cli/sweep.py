"""In a sweep (``-m``) every job is a process of its own, whatever launches it.

Memory is free after each, a killed job is a row and not the end, Ctrl-C reaches the child, and
several devices work. A job answers through its ``summary.json``. On Linux it is forked from a
process that has imported torch and Lightning: see ``forked.py``.
"""

import logging
import math
import os
import shlex
import signal
import sys
import time
import traceback
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from paddy_lightning.atomic import write_json
from paddy_lightning.cli.children import (
    child_environment,
    flags_again,
    knobs_again,
    wants_tracebacks,
)
from paddy_lightning.cli.forked import end_child, prepare, start
from paddy_lightning.cli.hydra_errors import explain
from paddy_lightning.cli.jobs import composer, read_overrides, refuse_wrong_values, values_of
from paddy_lightning.cli.schemas import SWEPT
from paddy_lightning.config import MAY_CHANGE, TrainConfig, plain
from paddy_lightning.data.table import open_data
from paddy_lightning.errors import UserError
from paddy_lightning.knob import FIND
from paddy_lightning.runs.run_folder import from_anywhere, locked, read_config
from paddy_lightning.runs.summary import FINISHED, command, read_summary

log = logging.getLogger(__name__)
FOR_COMPARISON = (
    *("scipy.stats", "matplotlib.backends.backend_agg"),
    "paddy_lightning.insight.comparison_page",
)


def run_as_process(name: str, config: DictConfig) -> float:
    """Run the current job as ``paddy <name> <its overrides>``, and wait for it.

    In a folder that has been swept before, what is done is left alone, what was cut is resumed,
    and what failed at once is repeated. A job that ends without an answer has failed: its summary
    says by which signal or exit code.

    Returns:
        Its error rate, for sweepers that look for the lowest; 1, the worst there is, where it has
        failed.

    Raises:
        KeyboardInterrupt: The job was interrupted, and so is the sweep.
        SystemExit: 1, where the folder holds a run with other settings.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    words = [*knobs_again(), f"hydra.run.dir={quoted}"]
    if (folder / "config.yaml").exists():
        refuse_another_run(folder, config)
        if (summary := read_summary(folder)).get("status") == "done":
            log.info("%s  is done already", folder)
            return float(summary["error_rate"])
        words = [f"resume={quoted}"]
    prepare()  # again where a launcher has a process for each job
    job = start(name, [*words, *flags_again(name)], child_environment())
    try:
        for module in FOR_COMPARISON:  # slow, and there is nothing else to do
            import_module(module)
        code = job.wait()
    except KeyboardInterrupt:
        end_child(job)
        code = 130
    if code == 130:
        swept = shlex.quote(f"hydra.sweep.dir={hydra.sweep.dir}")
        again = command() if "hydra.sweep.dir=" in command() else f"{command()} {swept}"
        log.info("interrupted; what is done is kept, and this goes on: %s", again)
        raise KeyboardInterrupt
    if code and read_summary(folder).get("status") not in ("failed", *FINISHED):
        keep_ending(folder, code)
    error_rate = None if code else read_summary(folder).get("error_rate")
    return 1.0 if error_rate is None else float(error_rate)


def keep_ending(folder: Path, code: int) -> None:
    """Write down how a job ended that said nothing itself.

    Not where it said nothing because another process trains in its folder.
    """
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    began = (folder / "config.yaml").exists()
    with suppress(UserError), locked(folder) if began and code > 0 else nullcontext():
        failed = {"status": "failed", "reason": f"ended by {how}"}
        write_json(folder / "summary.json", read_summary(folder) | failed)


def refuse_another_run(folder: Path, config: DictConfig) -> None:
    """End the sweep where a job's folder holds a run with other settings.

    Raises:
        SystemExit: 1.
    """
    told: Any = OmegaConf.to_object(config)
    earlier = read_config(folder)
    data = told.data if told.data == earlier.data else open_data(told.data).config
    ours, theirs = plain(from_anywhere(told, data)), plain(from_anywhere(earlier, earlier.data))
    changed = [name for name in ours if ours[name] != theirs[name] and name not in MAY_CHANGE]
    if ours["lr"] == FIND and "lr" in changed:
        changed.remove("lr")
    if changed:
        told = ", ".join(f"{name} was {theirs[name]}" for name in changed)
        print(
            f"error: {folder}: holds another run ({told}); choose another hydra.sweep.dir=",
            file=sys.stderr,
        )
        raise SystemExit(1)


class Sweep(Callback):
    """Looks at every value before anything is trained, and at every answer afterwards."""

    num_jobs = 0
    started = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the whole sweep for a value that is wrong by itself.

        Raises:
            SystemExit: 1 or 2; Hydra lets nothing else out of a callback.
        """
        if config.hydra.runtime.choices["hydra/launcher"] == "basic":  # whose jobs we start
            prepare()
        loader = GlobalHydra.instance().config_loader()
        try:
            overrides = read_overrides(config, loader)
            refuse_wrong_values(overrides, composer(config, loader))
        except Exception as error:  # of ours, or Hydra's as it composes
            if wants_tracebacks():
                traceback.print_exc()
            print(f"error: {explain(error, TrainConfig)}; nothing was trained", file=sys.stderr)
            raise SystemExit(1 if isinstance(error, UserError) else 2) from None
        swept = [override for override in overrides if override.is_sweep_override()]
        # Workers of any launcher inherit it.
        os.environ[SWEPT] = ",".join(override.get_key_element() for override in swept)
        if config.hydra.runtime.choices["hydra/sweeper"] == "basic":  # others choose a few
            self.num_jobs = math.prod(len(values_of(override)) for override in swept)
        self.started = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """After the first job, say how long the others may take."""
        if self.num_jobs > 1 and config.hydra.job.num == 0:
            seconds = (time.monotonic() - self.started) * (self.num_jobs - 1)
            hours, minutes = divmod(round(seconds / 60), 60)
            left = f"some {hours}:{minutes:02} h still to come"
            log.info("1 of %d jobs done; %s", self.num_jobs, left)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the runs.

        Raises:
            SystemExit: 1, if a job failed.
        """
        from paddy_lightning.insight.compare import compare, find_runs
        from paddy_lightning.insight.comparison_page import write_comparison

        folder = Path(config.hydra.sweep.dir)
        found = compare(find_runs(folder))
        write_comparison(found, folder)
        if not found.runs["status"].isin(FINISHED).all():
            raise SystemExit(1)
