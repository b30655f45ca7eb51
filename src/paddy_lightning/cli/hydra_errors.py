"""What Hydra and OmegaConf say of a mistake, in one line: the key, what is wrong, what to do.

Told apart by their words, which are those of Hydra 1.3.
"""

import re
from collections.abc import Iterable
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from paddy_lightning.errors import UserError, nearest
from paddy_lightning.knob import every_knob
from paddy_lightning.lettering import printable

QUOTE = "(quote values with special characters)"


def explain(error: Exception, kind: type[Any]) -> str:
    """A user's mistake in one or two lines: the key, what is wrong, the nearest allowed.

    Args:
        error: Of ours, or whatever Hydra raised before anything of ours began.
        kind: The config whose knobs were set.
    """
    if isinstance(error, UserError):
        return plain_message(error)
    return printable(_in_words(error, [name for name, _ in every_knob(kind)]))


def _in_words(error: Exception, known: list[str]) -> str:
    match error:
        case OverrideParseException():
            return _unreadable(error)
        case MissingConfigException():
            return _missing(error)
        case YAMLError():  # of a file in --config-dir; says which, and in which line
            return " ".join(str(error).split())
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = str(cause).strip() or type(error).__name__
    place = ""
    if within := re.match(r"In '([^']+)': \w+ raised while composing config:\s*", text):
        place, text = f"{within[1]}: ", text[within.end() :]
    return place + _told(text, known)


def plain_message(error: UserError) -> str:
    """The message itself, also when a worker's traceback has been wrapped around it."""
    return str(error).rsplit("UserError: ", 1)[-1].strip()


def no_such_knob(name: str, known: Iterable[str]) -> str:
    """That there is none, and what may have been meant."""
    names = {part for full in known for part in (full, full.split(".")[-1])}
    return f"{name}: no such knob{nearest(name, names) or '; --help lists them'}"


def _told(text: str, known: list[str]) -> str:
    first = text.split("\n")[0].strip()
    if named := re.match(r"(?:Key|Could not override) '([^']+)'", first):
        return no_such_knob(named[1], known)
    if named := re.match(r"Could not (?:delete from config\.|delete) '([^']+)'", first):
        return f"~{named[1]}: is not there to be deleted"
    if named := re.match(r"Ambiguous value for argument '(.+)'", first):
        return f"{named[1]}: several values make a sweep; add -m (or quote what is one value)"
    if named := re.match(r"Sweep parameters '(.+)' requires --multirun", first):
        return f"{named[1]}: several values make a sweep; add -m"
    if named := re.match(r"field '(.+)' is not Optional", first):
        return f"{named[1]}=null: needs a value"
    if named := re.match(r"Structured config .* has missing mandatory value: (\S+)", first):
        return f"{named[1]}=???: needs a value"
    if re.match(r"Config group override must be a string", first):
        return "data=, recipe=: take a name of theirs; ~recipe goes without one"
    key = re.search(r"^\s*full_key: (\S+)", text, re.MULTILINE)
    return f"{key[1]}: {first}" if key else first


def _unreadable(error: OverrideParseException) -> str:
    """A word that Hydra's grammar does not take."""
    lines = [line for line in error.message.split("\n") if line.strip()]
    if lines[0].startswith("LexerNoViableAlt"):
        return f"{error.override}: cannot be read {QUOTE}"
    why = lines[1] if lines[0].startswith("Error parsing override") else lines[0]
    return f"{error.override}: {why} {QUOTE}"


def _missing(error: MissingConfigException) -> str:
    """A file of a group, or a whole config, that is not in any of Hydra's folders."""
    name = error.missing_cfg_file or ""
    if error.options is None:
        return str(error).split("\n")[0]
    group, _, choice = name.rpartition("/")
    known = sorted(error.options)
    near = nearest(choice, known)
    return f"{group}={choice}: no such choice{near or ';'} there is {', '.join(known)}"
