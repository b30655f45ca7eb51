"""In a sweep (``-m``) every job is a process of its own, whatever launches it.

Memory is free after each, a killed job is a row and not the end, Ctrl-C reaches the child, and
several devices work. A job answers through its ``summary.json``.
"""

import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from paddy_lightning.atomic import write_json
from paddy_lightning.check import check
from paddy_lightning.command_line import SWEPT, child_environment, end_child, explain
from paddy_lightning.config import FIND, MAY_CHANGE, TrainConfig, plain
from paddy_lightning.errors import UserError
from paddy_lightning.run_folder import FINISHED, from_anywhere, read_config, read_summary
from paddy_lightning.table import open_data

log = logging.getLogger(__name__)


def in_sweep() -> bool:
    """Whether Hydra runs several jobs, of which this is one."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def run_as_process(script: str, config: DictConfig) -> None:
    """Run the current job as ``python <script> <its overrides>``, and wait for it.

    In a folder that has been swept before, what is done is left alone, what was cut is resumed,
    and what failed at once is repeated. A job that ends without an answer has failed: its summary
    says by which signal or exit code.

    Raises:
        KeyboardInterrupt: The job was interrupted, and so is the sweep.
        SystemExit: 1, where the folder holds a run with other settings.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    words = [*hydra.overrides.task, f"hydra.run.dir={quoted}"]
    if (folder / "config.yaml").exists():
        refuse_another_run(folder, config)
        if read_summary(folder).get("status") == "done":
            log.info("%s  is done already", folder)
            return
        words = [f"resume={folder}"]
    job = subprocess.Popen([sys.executable, script, *words], env=child_environment())
    try:
        code = job.wait()
    except KeyboardInterrupt:
        end_child(job)
        code = 130
    if code == 130:
        swept = QuotedString(hydra.sweep.dir, Quote.single).with_quotes()
        again = shlex.join(["python", *sys.argv, f"hydra.sweep.dir={swept}"])
        log.info("interrupted; what is done is kept, and this goes on: %s", again)
        raise KeyboardInterrupt
    summary = read_summary(folder)
    if code != 0 and summary.get("status") != "failed":
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        write_json(
            folder / "summary.json", summary | {"status": "failed", "reason": f"ended by {how}"}
        )


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


def check_values(override: Override) -> None:
    """Refuse any single value of an override, each with all other knobs at their defaults.

    Raises:
        UserError: A value that ``check`` refuses.
        HydraException: A value of the wrong type, or of a knob that is none.
    """
    key = override.get_key_element()
    if override.is_sweep_override():
        values = list(override.sweep_string_iterator())
    else:
        values = [override.get_value_element_as_str()]
    for value in values:
        config = compose("train", [f"{key}={value}"])
        check(OmegaConf.to_object(config))  # type: ignore[arg-type]


class Sweep(Callback):
    """Looks at every value before anything is trained, and at every answer afterwards."""

    num_jobs = 0
    started = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the whole sweep for a value that is wrong by itself.

        Raises:
            SystemExit: 1 or 2; Hydra lets nothing else out of a callback.
        """
        try:
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            overrides = parser.parse_overrides(list(config.hydra.overrides.task))
            for override in overrides:
                check_values(override)
        except (UserError, HydraException) as error:
            print(f"error: {explain(error, TrainConfig)}; nothing was trained", file=sys.stderr)
            raise SystemExit(1 if isinstance(error, UserError) else 2) from None
        swept = [o.get_key_element() for o in overrides if o.is_sweep_override()]
        os.environ[SWEPT] = ",".join(swept)  # workers of any launcher inherit it
        sweeps = [list(o.sweep_string_iterator()) for o in overrides if o.is_sweep_override()]
        self.num_jobs = math.prod(map(len, sweeps))
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
        from paddy_lightning.compare import compare, find_runs
        from paddy_lightning.comparison_page import write_comparison

        folder = Path(config.hydra.sweep.dir)
        found = compare(find_runs(folder))
        write_comparison(found, folder)
        if not found.runs["status"].isin(FINISHED).all():
            raise SystemExit(1)
