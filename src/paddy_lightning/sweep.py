"""In a sweep (``-m``) every job is a process of its own, whatever launches it.

Memory is free after each, a killed job is a row and not the end, Ctrl-C reaches the child, and
several devices work. A job answers through its ``summary.json``.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from paddy_lightning.atomic import write_json
from paddy_lightning.check import check
from paddy_lightning.command_line import FULL_ERROR, explain, full_error
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)
GRACE = 5  # seconds


def in_sweep() -> bool:
    """Whether Hydra runs several jobs, of which this is one."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def run_as_process(script: str) -> None:
    """Run the current job as ``python <script> <its overrides>``, and wait for it.

    A job that ends without an answer has failed: its summary says by which signal or exit code.

    Raises:
        KeyboardInterrupt: The job was interrupted, and so is the sweep.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    environment = {k: v for k, v in os.environ.items() if k != FULL_ERROR or full_error}
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    command = [sys.executable, script, *hydra.overrides.task, f"hydra.run.dir={quoted}"]
    job = subprocess.Popen(command, env=environment)
    try:
        code = job.wait()
    except KeyboardInterrupt:
        end(job)
        raise
    if code == 130:
        raise KeyboardInterrupt
    answer = folder / "summary.json"
    summary = json.loads(answer.read_text()) if answer.exists() else {}
    if code != 0 and summary.get("status") != "failed":
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        write_json(answer, summary | {"status": "failed", "reason": f"ended by {how}"})


def end(job: "subprocess.Popen[bytes]") -> None:
    """Wait for an interrupted job, and tell it where only we have been told.

    Ctrl-C on a terminal reaches the job as well; a signal sent to this process does not.
    """
    try:
        job.wait(GRACE)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.wait()


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


def job_folder(swept: set[str], number: int, overrides: list[str]) -> str:
    """``3_arch-resnet26d-resize-pad``: short, and safe in any shell and on Hydra's command line."""
    told = [word for word in overrides if word.split("=")[0] in swept]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{number}_{'-'.join(told)}")[:80].strip("-")


class Sweep(Callback):
    """Looks at every value before anything is trained, and at every answer afterwards."""

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
        swept = {o.get_key_element() for o in overrides if o.is_sweep_override()}
        OmegaConf.register_new_resolver("job_folder", partial(job_folder, swept), replace=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """One line a job, in their order.

        Raises:
            SystemExit: 1, if a job failed.
        """
        answers = Path(config.hydra.sweep.dir).glob("*/summary.json")
        summaries = {path.parent: json.loads(path.read_text()) for path in answers}
        for job in sorted(summaries, key=lambda path: int(path.name.split("_")[0])):
            summary = summaries[job]
            outcome = f"{summary['status']}: {summary.get('reason')}"
            if summary["status"] == "done":
                outcome = f"error_rate {summary['error_rate']:.4f}"
            log.info("%s  %s", job, outcome)
        if any(summary["status"] != "done" for summary in summaries.values()):
            raise SystemExit(1)
