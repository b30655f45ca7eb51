"""Words -> a typed config -> a command's task, or one clear message.

Hydra composes; this module answers ``--help`` at once, and turns a mistake into a sentence.
``HYDRA_FULL_ERROR=1`` shows the whole traceback instead.
"""

import gc
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paddy_lightning.cli.children import FULL_ERROR, OUR_FULL_ERROR, wants_tracebacks
from paddy_lightning.cli.commands import COMMANDS, Work
from paddy_lightning.cli.help import CONF, help_text
from paddy_lightning.cli.hydra_errors import explain
from paddy_lightning.cli.refused import keep_reason, leave_nothing
from paddy_lightning.cli.schemas import register_schemas, typed
from paddy_lightning.cli.words import in_one, quote_value, read_words, value_of
from paddy_lightning.errors import TakenError, UserError
from paddy_lightning.faults import sentence_of
from paddy_lightning.importing import importing
from paddy_lightning.knob import read_path
from paddy_lightning.ranks import COMMAND, rank, starter

RESUMABLE = ("resume=", "num_workers=", "cache=", "data.root=", "data.csv=", "trainer.")
SILENT = ("hydra.output_subdir=null", "hydra/job_logging=disabled")


def run_command(name: str, words: list[str]) -> None:
    """Run one of ``COMMANDS``.

    Args:
        name: Which.
        words: Hydra's flags and knobs, as they were typed.

    Raises:
        SystemExit: 1 or 2 after a mistake, 130 after Ctrl-C or SIGTERM.
    """
    kind = COMMANDS[name].kind
    if {"-h", "--help"} & {*words}:
        print(help_text(name, kind))
        return
    # A shell script starts what it puts in the background with Ctrl-C ignored; a run must be
    # stoppable in any way, and SIGTERM is what a machine about to go says.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name may hold what a terminal cannot show
            with suppress(OSError):  # a pipe that was put where a file was open
                stream.reconfigure(errors="backslashreplace")
    gc.disable()  # until there is work: see run_task
    register_schemas()
    os.environ.setdefault(COMMAND, typed_command())
    os.environ.setdefault(OUR_FULL_ERROR, os.environ.get(FULL_ERROR, "0"))
    os.environ[FULL_ERROR] = "1"  # or Hydra would print its own errors, four to six lines each
    try:
        read = read_words(words)
        knobs = read.knobs if read.sweep else [in_one(word, kind) for word in read.knobs]
        told = as_rank(in_its_own_folder(knobs, read.sweep), read.sweep)
        sys.argv[1:] = [*(quote_value(word, read.sweep) for word in told), *read.flags]
        hydra.main(str(CONF), name.replace("-", "_"), "1.3")(partial(run_task, name))()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # a task tells its own: these are refusals, most of them Hydra's
        if wants_tracebacks():
            raise
        told_by_machine = sentence_of(error)
        print(f"error: {told_by_machine or explain(error, kind)}", file=sys.stderr)
        sys.exit(1 if told_by_machine or isinstance(error, UserError) else 2)
    finally:
        gc.enable()
        RunFolder.remove_empty()


def typed_command() -> str:
    """The command line, as it was typed."""
    program, *words = sys.argv
    if Path(program).name == "__main__.py":
        return shlex.join(["python", "-m", "paddy_lightning", *words])
    script = program.endswith(".py")
    return shlex.join(["python", *sys.argv] if script else [Path(program).name, *words])


def run_task(name: str, config: DictConfig) -> Any:
    """A command's task here; or, for a job of a sweep, in a process of its own."""
    if not gc.get_freeze_count():
        gc.freeze()  # what was imported stays, and is not searched later
    gc.enable()
    if name == "train" and HydraConfig.get().mode is RunMode.MULTIRUN:
        from paddy_lightning.cli.sweep import run_as_process  # brings pandas

        return run_as_process(name, config)
    return run_job(config, COMMANDS[name].task)


def run_job(config: DictConfig, task: Callable[[Any, Path], Work]) -> Any:
    """Run a task with the typed config and the folder Hydra made for it.

    A refused run leaves nothing behind, unless its folder was asked for by name or is that of a
    run that goes on: then its ``summary.json`` says why, which is how a sweep learns it.

    Returns:
        What its work returns.

    Raises:
        SystemExit: 1 or 2 after an error, which has been told.
    """
    from paddy_lightning.quiet import small_talk_left_out  # brings PIL, which --help can spare

    run_dir = Path(HydraConfig.get().runtime.output_dir)
    kind: Any = OmegaConf.get_type(config)
    try:
        with small_talk_left_out():
            with importing():
                work = task(typed(config), run_dir)
            return work()
    except KeyboardInterrupt:
        leave_nothing(run_dir)
        raise
    except Exception as error:
        if starter():  # which ends all when one fails; what is wrong is told to the end
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if wants_tracebacks():
            raise
        told = sentence_of(error)
        if isinstance(error, (UserError, HydraException, OmegaConfBaseException)):
            told = explain(error, kind)
        if told is None:
            traceback.print_exc()
        else:
            print(f"error: {told}", file=sys.stderr)
            if not isinstance(error, TakenError) and not rank():
                keep_reason(bool(config.get("resume")), run_dir, told)
        raise SystemExit(2 if isinstance(error, OmegaConfBaseException) else 1) from None


class RunFolder(Callback):
    """Looks at the folder of a run before Hydra makes it and writes there."""

    made: ClassVar[list[Path]] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a folder that holds a run, and note which folders there were not.

        Raises:
            SystemExit: 1; Hydra lets nothing else out of a callback.
        """
        folder = Path(config.hydra.run.dir)
        if config.hydra.output_subdir and folder.is_dir():
            from paddy_lightning.runs.run_folder import refuse_taken  # slow to import

            try:
                refuse_taken(folder)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                raise SystemExit(1) from None
        RunFolder.made = [path for path in (folder, *folder.parents) if not path.exists()]

    @classmethod
    def remove_empty(cls) -> None:
        """Remove the folders that Hydra made and nobody needed."""
        for folder in cls.made:
            with suppress(OSError):  # not empty
                folder.rmdir()


def in_its_own_folder(words: list[str], sweep: bool) -> list[str]:
    """Let Hydra work in the folder of the run that ``resume=`` names, before it makes another.

    Raises:
        UserError: No run there, or knobs that a resumed run cannot change.
    """
    told = [value_of(word) for word in words if word.lstrip("+").startswith("resume=")]
    if not told or told[-1] is None:
        return words
    for word in words:
        if sweep or not word.lstrip("+").startswith(RESUMABLE):
            raise UserError(
                f"{word}: a resumed run keeps its own config; beside resume= it takes only"
                " num_workers=, cache=, data.root=, data.csv= and trainer.*="
            )
    run_dir = read_path(str(told[-1]))
    if not run_dir or not Path(run_dir, "config.yaml").is_file():
        raise UserError(f"resume={run_dir}: not a run folder (it has no config.yaml)")
    folder = QuotedString(run_dir, Quote.single).with_quotes()
    return [*words, f"hydra.run.dir={folder}", "hydra.output_subdir=null"]


def as_rank(words: list[str], sweep: bool) -> list[str]:
    """Leave a run's folder to the first of several processes: the others write to none.

    Raises:
        UserError: Each of them would run a whole sweep.
    """
    if sweep and (who := starter()):
        raise UserError(f"-m: without {who}; a sweep starts the processes of each of its jobs")
    nobodys = QuotedString(tempfile.gettempdir(), Quote.single).with_quotes()
    return [*words, f"hydra.run.dir={nobodys}", *SILENT] if rank() else words
