"""In a sweep (``-m``) every job is a process of its own, whatever launches it.

Memory is free after each, a killed job is a row and not the end, Ctrl-C reaches the child, and
several devices work. A job answers through its ``summary.json``.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from paddy_lightning.atomic import write_json
from paddy_lightning.check import check
from paddy_lightning.command_line import FULL_ERROR, full_error, plain_message
from paddy_lightning.errors import UserError

log = logging.getLogger(__name__)


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
    command = [sys.executable, script, *hydra.overrides.task, f"hydra.run.dir='{folder}'"]
    job = subprocess.Popen(command, env=environment)
    try:
        code = job.wait()
    except KeyboardInterrupt:
        job.wait()
        raise
    if code == 130:
        raise KeyboardInterrupt
    answer = folder / "summary.json"
    summary = json.loads(answer.read_text()) if answer.exists() else {}
    if code != 0 and summary.get("status") != "failed":
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        write_json(answer, summary | {"status": "failed", "reason": f"ended by {how}"})


class Sweep(Callback):
    """Looks at every value before anything is trained, and at every answer afterwards."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the whole sweep for a value that is wrong by itself.

        Raises:
            SystemExit: 1; Hydra lets nothing else out of a callback.
        """
        loader = GlobalHydra.instance().config_loader()
        overrides = OverridesParser.create(loader).parse_overrides(
            list(config.hydra.overrides.task)
        )
        for override in overrides:
            key = override.get_key_element()
            values = (
                override.sweep_string_iterator()
                if override.is_sweep_override()
                else [override.get_value_element_as_str()]
            )
            for value in values:
                job = loader.load_configuration("train", [f"{key}={value}"], RunMode.RUN)
                OmegaConf.set_struct(job, False)
                job.pop("hydra")
                try:
                    check(OmegaConf.to_object(job))  # type: ignore[arg-type]
                except UserError as error:
                    print(f"error: {plain_message(error)}; nothing was trained", file=sys.stderr)
                    raise SystemExit(1) from None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """One line a job, in their order.

        Raises:
            SystemExit: 1, if a job failed.
        """
        folder = Path(config.hydra.sweep.dir)
        answers = sorted(
            folder.glob("*/summary.json"), key=lambda path: int(path.parent.name.split("_")[0])
        )
        summaries = [(path.parent, json.loads(path.read_text())) for path in answers]
        for job, summary in summaries:
            outcome = (
                f"error_rate {summary['error_rate']:.4f}"
                if summary["status"] == "done"
                else f"{summary['status']}: {summary.get('reason', '')}"
            )
            log.info("%s  %s", job, outcome)
        if any(summary["status"] != "done" for _, summary in summaries):
            raise SystemExit(1)
