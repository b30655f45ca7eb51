"""argv -> a typed config, or one clear message: what the scripts beside ``src`` share.

Hydra composes; this module answers ``--help`` at once, and turns a mistake into a sentence.
``HYDRA_FULL_ERROR=1`` shows the whole traceback instead.
"""

import dataclasses
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paddy_lightning.atomic import write_json
from paddy_lightning.children import FULL_ERROR, OUR_FULL_ERROR, wants_tracebacks
from paddy_lightning.config import (
    CompareConfig,
    DownloadConfig,
    InterpretConfig,
    PredictConfig,
    SubmitConfig,
    SurveyConfig,
    TrainConfig,
)
from paddy_lightning.errors import TakenError, UserError
from paddy_lightning.faults import sentence_of
from paddy_lightning.hydra_errors import explain, no_such_knob
from paddy_lightning.knob import every_knob, read_path
from paddy_lightning.ranks import COMMAND, local_rank
from paddy_lightning.words import as_typed, quote_value, read_words, value_of

CONF = Path(__file__).parents[2] / "conf"
RESUMABLE = ("resume=", "num_workers=", "cache=", "data.root=", "data.csv=", "trainer.")
SWEPT = "PADDY_SWEPT"  # environment variable: the knobs that a sweep varies


def run_command(main: Callable[[], None], kind: type[Any]) -> None:
    """Run a script's Hydra main.

    Args:
        main: Decorated with ``hydra.main``.
        kind: The config it takes.

    Raises:
        SystemExit: 1 or 2 after a mistake, 130 after Ctrl-C or SIGTERM.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text(Path(sys.argv[0]).name, kind))
        return
    # A shell script starts what it puts in the background with Ctrl-C ignored; a run must be
    # stoppable in any way, and SIGTERM is what a machine about to go says.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name may hold what a terminal cannot show
            with suppress(OSError):  # a pipe that was put where a file was open
                stream.reconfigure(errors="backslashreplace")
    register_schemas()
    os.environ.setdefault(COMMAND, shlex.join(["python", *sys.argv]))
    os.environ.setdefault(OUR_FULL_ERROR, os.environ.get(FULL_ERROR, "0"))
    os.environ[FULL_ERROR] = "1"  # or Hydra would print its own errors, four to six lines each
    try:
        words = read_words(sys.argv[1:])
        told = in_its_own_folder(words.knobs, words.sweep)
        sys.argv[1:] = [*(quote_value(word, words.sweep) for word in told), *words.flags]
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # a task tells its own: these are refusals, most of them Hydra's
        if wants_tracebacks():
            raise
        told_by_machine = sentence_of(error)
        print(f"error: {told_by_machine or explain(error, kind)}", file=sys.stderr)
        sys.exit(1 if told_by_machine or isinstance(error, UserError) else 2)
    finally:
        RunFolder.remove_empty()


def run_job(config: DictConfig, task: Callable[[Any, Path], object]) -> Any:
    """Run a task with the typed config and the folder Hydra made for it.

    A refused run leaves nothing behind, unless its folder was asked for by name or is that of a
    run that goes on: then its ``summary.json`` says why, which is how a sweep learns it.

    Returns:
        What the task returns.

    Raises:
        SystemExit: 1 or 2 after an error, which has been told.
    """
    from paddy_lightning.quiet import small_talk_left_out  # brings PIL, which --help can spare

    run_dir = Path(HydraConfig.get().runtime.output_dir)
    kind: Any = OmegaConf.get_type(config)
    try:
        with small_talk_left_out():
            return task(typed(config), run_dir)
    except Exception as error:
        if wants_tracebacks():
            raise
        told = sentence_of(error)
        if isinstance(error, (UserError, HydraException, OmegaConfBaseException)):
            told = explain(error, kind)
        if told is None:
            traceback.print_exc()
        else:
            print(f"error: {told}", file=sys.stderr)
            if not isinstance(error, TakenError) and not local_rank():
                keep_reason(bool(config.get("resume")), run_dir, told)
        raise SystemExit(2 if isinstance(error, OmegaConfBaseException) else 1) from None


def typed(config: DictConfig) -> Any:
    """The config as its dataclass.

    Raises:
        UserError: A value that cannot be, or a name that is no knob: ``+name=`` adds any.
        OmegaConfBaseException: ``${...}`` that leads nowhere.
    """
    kind: Any = OmegaConf.get_type(config)
    known = [name for name, _ in every_knob(kind)]
    for part, prefix in ((config, ""), (config.get("data"), "data.")):
        for name in map(str, part or ()):
            if not any(f"{full}.".startswith(f"{prefix}{name}.") for full in known):
                raise UserError(no_such_knob(f"{prefix}{name}", known))
    return OmegaConf.to_object(config)


def keep_reason(resume: bool, run_dir: Path, reason: str) -> None:
    """Write down why a run was refused where its folder stays, and else take Hydra's files back."""
    failed = {"status": "failed", "reason": reason}
    if resume:
        from paddy_lightning.run_folder import FINISHED, locked, read_summary  # slow

        with suppress(UserError), locked(run_dir):
            if (summary := read_summary(run_dir)).get("status") not in FINISHED:
                write_json(run_dir / "summary.json", summary | failed)
    elif HydraConfig.get().output_subdir and not (run_dir / "summary.json").exists():
        typed_words = shlex.split(os.environ.get(COMMAND, ""))  # ranks are always told a folder
        if any(word.startswith("hydra.run.dir=") for word in typed_words):
            write_json(run_dir / "summary.json", failed)
        else:
            remove_hydras_files(run_dir)


def remove_hydras_files(run_dir: Path) -> None:
    """Take back what Hydra wrote before the task began, and nothing else."""
    hydra = HydraConfig.get()
    own = run_dir / str(hydra.output_subdir)
    for name in ("config", "hydra", "overrides"):
        (own / f"{name}.yaml").unlink(missing_ok=True)
    (run_dir / f"{hydra.job.name}.log").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: somebody's files
        own.rmdir()


class RunFolder(Callback):
    """Looks at the folder of a run before Hydra makes it and writes there."""

    made: ClassVar[list[Path]] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a folder that holds a run, and note which folders there were not.

        Raises:
            SystemExit: 1; Hydra lets nothing else out of a callback.
        """
        folder = Path(config.hydra.run.dir)
        if config.hydra.output_subdir and folder.is_dir() and local_rank() is None:
            from paddy_lightning.run_folder import refuse_taken  # slow to import

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
        if local_rank() is None and (sweep or not word.lstrip("+").startswith(RESUMABLE)):
            raise UserError(
                f"{word}: a resumed run keeps its own config; beside resume= it takes only"
                " num_workers=, cache=, data.root=, data.csv= and trainer.*="
            )
    run_dir = read_path(str(told[-1]))
    if not run_dir or not Path(run_dir, "config.yaml").is_file():
        raise UserError(f"resume={run_dir}: not a run folder (it has no config.yaml)")
    folder = QuotedString(run_dir, Quote.single).with_quotes()
    return [*words, f"hydra.run.dir={folder}", "hydra.output_subdir=null"]


def register_schemas() -> None:
    """Tell Hydra the types and defaults of every knob."""
    store = ConfigStore.instance()
    for name, kind in (("train_schema", TrainConfig), ("survey_schema", SurveyConfig)):
        schema = OmegaConf.structured(kind)
        OmegaConf.set_struct(schema.trainer, False)  # takes any name; check() knows which exist
        store.store(name, schema)
    store.store("predict_schema", PredictConfig)
    store.store("interpret_schema", InterpretConfig)
    store.store("compare_schema", CompareConfig)
    store.store("download_schema", DownloadConfig)
    store.store("submit_schema", SubmitConfig)


def job_folder(number: int, overrides: "list[str] | ListConfig") -> str:
    """``3_arch-resnet26d-resize-pad``: short, and safe in any shell and on Hydra's command line.

    Of the overrides, those that the sweep varies.
    """
    swept = set(os.environ.get(SWEPT, "").split(","))
    words = overrides if isinstance(overrides, list) else as_typed(overrides)
    told = [word for word in words if word.split("=")[0] in swept]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{number}_{'-'.join(told)}")[:80].strip("-")


# When this module is imported, and not later: a launcher's worker imports it and no more.
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def help_text(script: str, kind: type[Any]) -> str:
    """Every knob with its default and meaning, and the groups."""
    rows = list(knobs(kind))
    width = max(len(f"{name}={default}") for name, default, _ in rows) + 2
    lines = [f"  {f'{name}={default}':{width}}{meaning}" for name, default, meaning in rows]
    if issubclass(kind, TrainConfig):
        lines += ["", f"  data={'|'.join(choices('data'))}: where the pictures are"]
        lines += [f"  recipe={'|'.join(choices('recipe'))}: several knobs at once"]
        lines += ["  -m: every combination of values with commas, each a run of its own"]
    usage, more = f"python {script} [knob=value ...]", "hydra.run.dir=FOLDER; --hydra-help"
    return "\n".join([usage, "", *lines, "", f"  {more} for all of Hydra's own"])


def choices(group: str) -> list[str]:
    """The files of a group of ``conf/``."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def knobs(kind: type[Any]) -> Iterator[tuple[str, str, str]]:
    """(name, default, meaning) of every knob, those of nested configs dotted."""
    for name, knob in every_knob(kind):
        factory = knob.default_factory
        default = knob.default if factory is dataclasses.MISSING else factory()
        meaning = knob.metadata["meaning"]
        if isinstance(default, StrEnum):
            meaning = f"{'|'.join(type(default))}: {meaning}"
        shown = str(default)
        if default is None or isinstance(default, bool):
            shown = {None: "null", True: "true", False: "false"}[default]
        yield name, shown, meaning
