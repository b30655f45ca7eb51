"""argv -> a typed config, or one clear message: what the scripts beside ``src`` share.

Hydra composes; this module answers ``--help`` at once, quotes paths, and turns a mistake into a
sentence. ``HYDRA_FULL_ERROR=1`` shows the whole traceback instead.
"""

import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paddy_lightning.atomic import write_json
from paddy_lightning.config import (
    CompareConfig,
    DownloadConfig,
    InterpretConfig,
    PredictConfig,
    SubmitConfig,
    SurveyConfig,
    TrainConfig,
)
from paddy_lightning.errors import TakenError, UserError, nearest
from paddy_lightning.faults import sentence_of
from paddy_lightning.ranks import COMMAND, local_rank

CONF = Path(__file__).parents[2] / "conf"
PATHS = {
    "data.root",
    "data.csv",
    "weights",
    "cache",
    "ckpt",
    "images",
    "output",
    "resume",
    "run",
    "message",
}  # knobs whose value is a path, or any text
RESUMABLE = (
    *("resume=", "num_workers=", "cache=", "data.root=", "data.csv="),
    *("trainer.", "+trainer.", "++trainer."),
)
HYDRAS_FLAGS = {"-m", "--multirun", "-c", "--cfg", "--info", "--hydra-help", "--resolve", "-p"}
GRACE = 10  # seconds
SWEPT = "PADDY_SWEPT"  # environment variable: the knobs that a sweep varies
FULL_ERROR = "HYDRA_FULL_ERROR"
full_error = os.environ.get(FULL_ERROR) == "1"


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
    os.environ[FULL_ERROR] = "1"  # or Hydra would print its own errors, four to six lines each
    try:
        sweep = bool({"-m", "--multirun"} & set(sys.argv))
        refuse_other_styles(sys.argv[1:])
        if kind is TrainConfig and local_rank() is None:
            refuse_used_folder(sys.argv[1:])
        words = in_its_own_folder(sys.argv[1:], sweep)
        sys.argv[1:] = [quote_path(word, sweep) for word in words]
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        print(f"error: {explain(error, kind)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, UserError) else 2)
    except (OSError, ValueError) as error:  # of Hydra, whose folder or log cannot be made
        if full_error or (told := sentence_of(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(1)


def run_job(config: DictConfig, task: Callable[[Any, Path], object]) -> None:
    """Run a task with the typed config and the folder Hydra made for it.

    A refused run leaves no folder behind, unless the folder was asked for by name: then its
    ``summary.json`` says why, which is how a sweep learns it.
    """
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    try:
        task(OmegaConf.to_object(config), run_dir)
    except Exception as error:
        told = plain_message(error) if isinstance(error, UserError) else sentence_of(error)
        if told is None:
            raise
        taken = isinstance(error, TakenError) or (run_dir / "summary.json").exists()
        if not taken and HydraConfig.get().output_subdir:
            if "hydra.run.dir=" in os.environ.get(COMMAND, ""):  # typed: ranks are always told one
                write_json(run_dir / "summary.json", {"status": "failed", "reason": told})
            else:
                remove_hydras_files(run_dir)
        if full_error:
            raise
        print(f"error: {told}", file=sys.stderr)
        raise SystemExit(1) from None


def remove_hydras_files(run_dir: Path) -> None:
    """Take back what Hydra wrote before the task began, and nothing else."""
    hydra = HydraConfig.get()
    own = run_dir / str(hydra.output_subdir)
    for name in ("config", "hydra", "overrides"):
        (own / f"{name}.yaml").unlink(missing_ok=True)
    (run_dir / f"{hydra.job.name}.log").unlink(missing_ok=True)
    for folder in (own, run_dir):
        with suppress(OSError):  # not empty: somebody's files
            folder.rmdir()


def refuse_other_styles(words: list[str]) -> None:
    """Say how knobs are written to whom types ``--lr 3e-3``.

    Raises:
        UserError: A word that is neither a knob with its value nor a flag of Hydra's.
    """
    for before, word in zip(["", *words], words, strict=False):
        is_flag = word.split("=")[0] in HYDRAS_FLAGS
        if not (is_flag or before in HYDRAS_FLAGS or ("=" in word and word[0] not in "-=")):
            name = word.strip("-=").split("=")[0] or "lr"
            raise UserError(f"{word}: knobs are written {name}=VALUE, without spaces or dashes")


def refuse_used_folder(words: list[str]) -> None:
    """Leave a run's folder alone, before Hydra writes its own files over those there.

    Raises:
        TakenError: The folder asked for by name holds a run, or one has just begun there.
    """
    for word in words:
        folder = word.removeprefix("hydra.run.dir=").strip("'\"")
        if folder != word and Path(folder).is_dir():
            from paddy_lightning.run_folder import refuse_taken  # slow to import

            refuse_taken(Path(folder))


def in_its_own_folder(words: list[str], sweep: bool) -> list[str]:
    """Let Hydra work in the folder of the run that ``resume=`` names, before it makes another.

    Raises:
        UserError: No run there, or knobs that a resumed run cannot change.
    """
    told = [word for word in words if word.startswith("resume=")]
    named = [word.removeprefix("resume=").strip("'\"") for word in told]
    if not named or named[-1] == "null":
        return words
    for word in words:
        if local_rank() is None and (sweep or not word.startswith(RESUMABLE)):
            raise UserError(
                f"{word}: a resumed run keeps its own config; beside resume= it takes only"
                " num_workers=, cache=, data.root=, data.csv= and trainer.*="
            )
    if not Path(named[-1], "config.yaml").is_file():
        raise UserError(f"resume={named[-1]}: not a run folder (it has no config.yaml)")
    folder = QuotedString(named[-1], Quote.single).with_quotes()
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


def job_folder(number: int, overrides: list[str]) -> str:
    """``3_arch-resnet26d-resize-pad``: short, and safe in any shell and on Hydra's command line.

    Of the overrides, those that the sweep varies.
    """
    swept = set(os.environ.get(SWEPT, "").split(","))
    told = [word for word in overrides if word.split("=")[0] in swept]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{number}_{'-'.join(told)}")[:80].strip("-")


# When this module is imported, and not later: a launcher's worker imports it and no more.
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def child_environment() -> dict[str, str]:
    """For another command of ours: as this one's, but with the user's own wish for tracebacks."""
    kept = {k: v for k, v in os.environ.items() if k != COMMAND}
    return {k: v for k, v in kept.items() if k != FULL_ERROR or full_error}


def end_child(job: "subprocess.Popen[bytes]") -> None:
    """Wait for an interrupted job, and tell it where only we have been told.

    Ctrl-C on a terminal reaches the job as well; a signal sent to this process does not.
    """
    try:
        job.wait(GRACE)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.wait()


def quote_path(word: str, sweep: bool = False) -> str:
    """``ckpt=a=b.ckpt`` -> ``ckpt='a=b.ckpt'``: Hydra's grammar would stumble on the value.

    Lists, words that are quoted already and, in a sweep, several values stay as they are.
    """
    key, _, value = word.partition("=")
    as_it_is = not value or value[0] in "'\"[" or value in ("null", "none", "pretrained")
    if key.lstrip("+") not in PATHS or as_it_is or (sweep and "," in value):
        return word
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def explain(error: Exception, kind: type[Any]) -> str:
    """A user's mistake in one or two lines: the key, what is wrong, the nearest allowed."""
    if isinstance(error, UserError):
        return plain_message(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    first = str(cause).strip().split("\n")[0].strip()
    if match := re.match(r"(?:Key '|Could not override ')([\w.]+)'", first):
        known = [row[0] for row in knobs(kind)]
        near = nearest(match[1], {*known, *(name.split(".")[-1] for name in known)})
        return f"{match[1]}: no such knob{near or '; --help lists them'}"
    if match := re.match(r"In '[\w/]+': Could not find '([\w/.-]+)/([^/]+)'", first):
        known = choices(match[1])
        near = nearest(match[2], known)
        return f"{match[1]}={match[2]}: no such choice{near or ';'} there is {', '.join(known)}"
    if match := re.match(r"Ambiguous value for argument '(.+)'", first):
        return f"{match[1]}: several values make a sweep; add -m (or quote what is one value)"
    key = getattr(cause, "full_key", None)
    return f"{key}: {first}" if key else f"{first} (quote values with special characters)"


def plain_message(error: UserError) -> str:
    """The message itself, also when a worker's traceback has been wrapped around it."""
    return str(error).rsplit("UserError: ", 1)[-1].strip()


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


def knobs(kind: type[Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(name, default, meaning) of every knob, those of nested configs dotted."""
    for knob in dataclasses.fields(kind):
        if dataclasses.is_dataclass(knob.type):
            yield from knobs(knob.type, f"{knob.name}.")  # type: ignore[arg-type]
            continue
        factory = knob.default_factory
        default = knob.default if factory is dataclasses.MISSING else factory()
        meaning = knob.metadata["meaning"]
        if isinstance(default, StrEnum):
            meaning = f"{'|'.join(type(default))}: {meaning}"
        shown = str(default)
        if default is None or isinstance(default, bool):
            shown = {None: "null", True: "true", False: "false"}[default]
        yield f"{prefix}{knob.name}", shown, meaning
