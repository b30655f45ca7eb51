"""The words of a command line: which are Hydra's flags, which knobs, and how values are quoted.

Hydra's grammar gives a meaning to ``=``, ``(``, ``~``, ``:`` and many more. Paths and sentences
have them as they come, so what Hydra would read as anything else is quoted for it.
"""

import re
from functools import cache
from typing import Any, NamedTuple, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString, ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf

from paddy_lightning.command_configs import CONFIGS
from paddy_lightning.errors import UserError
from paddy_lightning.knob import PATH, SEVERAL, TEXT, every_knob, read_path

NAME = "name"  # any other text: of a network, a precision
HYDRAS_PATHS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
QUOTED = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
ONE_OF_MANY = re.compile(rf"\s*({QUOTED}|[^,]*?)\s*(,|\Z)", re.DOTALL)


class Words(NamedTuple):
    """A command line, read.

    Attributes:
        knobs: ``name=value``, ``+name=value``, ``~name``, in the order they were typed.
        flags: Hydra's own, with their values: ``-m``, ``--config-dir FOLDER``; best typed last.
        sweep: Whether they ask for several runs.
    """

    knobs: list[str]
    flags: list[str]
    sweep: bool


def read_words(words: list[str]) -> Words:
    """Tell flags and knobs apart as Hydra does, wherever they stand.

    Raises:
        UserError: A word that is neither, such as ``--lr 3e-3``; says how knobs are written.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    told, unknown = parser.parse_known_intermixed_args(words)
    for word in (*unknown, *told.overrides):
        if word in unknown or not (word.startswith("~") or re.match("[^-=][^=]*=", word)):
            name = word.strip("-=").split("=")[0] or "lr"
            raise UserError(f"{word}: knobs are written {name}=VALUE, without spaces or dashes")
    flags, knobs = list(words), list(told.overrides)
    for word in knobs:
        flags.remove(word)
    return Words(knobs, flags, told.multirun or "hydra.mode=MULTIRUN" in knobs)


def _refuse(message: str) -> NoReturn:
    raise UserError(message)


class Text(NamedTuple):
    """What a knob holds.

    Attributes:
        kind: PATH, TEXT or NAME.
        several: Whether it takes a list of them.
    """

    kind: str
    several: bool = False


@cache
def texts() -> dict[str, Text]:
    """The knobs of any script that hold text, by their names."""
    found = {name: Text(PATH) for name in HYDRAS_PATHS}
    for kind in CONFIGS:
        for name, knob in every_knob(kind):
            holds = knob.metadata["holds"]
            if holds != SEVERAL and (holds or knob.type in (str, str | None)):
                found[name] = Text(holds or NAME, knob.type is Any)
    return found


def quote_value(word: str, sweep: bool = False) -> str:
    """``ckpt=a=b.ckpt`` -> ``ckpt='a=b.ckpt'``, so that Hydra reads what was typed.

    ``null``, what is quoted already and what Hydra reads as it stands stay. In a sweep every value
    is quoted by itself, and so are the members of a list where a knob takes one. A path may begin
    with ``~`` and have ``${...}`` in it; in a sentence, ``${`` is two letters as any.
    """
    key, _, value = word.partition("=")
    name = key.lstrip("+")
    text = texts().get(name)
    if text is None:
        return word
    swept = sweep and name not in HYDRAS_PATHS
    if swept and re.fullmatch(rf"({'|'.join(_parser().functions.functions)})\(.*\)", value):
        return word
    if text.several and value.startswith("[") and value.endswith("]"):
        items = [_quoted(item, text.kind) for item in split_values(value[1:-1])]
        return f"{key}=[{','.join(items)}]"
    if text.kind == NAME and "," in value and not sweep:
        return word  # Hydra says that several values make a sweep
    values = split_values(value) if swept else [value]
    return f"{key}={','.join(_quoted(one, text.kind) for one in values)}"


def in_one(word: str, kind: type[Any]) -> str:
    """``arch=a,b`` -> ``arch='a,b'`` where a command takes SEVERAL: not a sweep, but one value.

    Args:
        word: A knob, as it was typed.
        kind: The config of the command.
    """
    key, _, value = word.partition("=")
    takes = {name for name, knob in every_knob(kind) if knob.metadata["holds"] == SEVERAL}
    if key.lstrip("+") not in takes or "," not in value or value[0] in "'\"[":
        return word
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def value_of(word: str) -> Any:
    """The value of ``name=value`` as Hydra reads it, once it is quoted.

    Raises:
        HydraException: A word that cannot be read.
    """
    (override,) = _parser().parse_overrides([quote_value(word)])
    return override.value()


def quoted_again(word: str) -> str:
    """An override of a sweep's job as ``quote_value`` leaves alone: Hydra escapes, we quote."""
    (override,) = _parser().parse_overrides([word])
    value = override.value()
    if override.key_or_group not in texts() or not isinstance(value, str):
        return word
    return f"{override.get_key_element()}={QuotedString(value, Quote.single).with_quotes()}"


def as_typed(overrides: Any) -> list[str]:
    """What Hydra keeps of a command line, a ListConfig, with any ``${...}`` in it left alone."""
    words: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(word) for word in words]


def split_values(text: str) -> list[str]:
    """``a, 'b,c'`` -> ``a`` and ``'b,c'``: at the commas that are not quoted."""
    found: list[str] = []
    at = 0
    while match := ONE_OF_MANY.match(text, at):
        found.append(match[1])
        at = match.end()
        if not match[2]:
            break
    return found


def _quoted(text: str, kind: str) -> str:
    """One value as Hydra must be given it."""
    if re.fullmatch(f"{QUOTED}|(?i:null)", text, re.DOTALL):
        return text
    if kind == PATH:
        text = read_path(text)
    if kind == TEXT:
        text = re.sub(r"(\\*)\$\{", lambda before: before[1] * 2 + r"\${", text)
    if "${" not in text and _reads_as_typed(text):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def _reads_as_typed(text: str) -> bool:
    if text.endswith("\\"):  # would take the comma behind it for its own
        return False
    try:
        (override,) = _parser().parse_overrides([f"knob={text}"])
    except HydraException:
        return False
    return override.value_type is ValueType.ELEMENT and override.value() == text


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
