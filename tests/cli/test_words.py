"""What is typed is what arrives, through Hydra's grammar and OmegaConf's."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from paddy_lightning.choices import DataConfig
from paddy_lightning.cli.help import CONF
from paddy_lightning.cli.hydra_errors import explain
from paddy_lightning.cli.schemas import register_schemas, typed
from paddy_lightning.cli.words import (
    NAME,
    QUOTED,
    in_one,
    quote_value,
    quoted_again,
    read_words,
    split_values,
    texts,
    value_of,
)
from paddy_lightning.command_configs import PredictConfig, ProbeConfig, SubmitConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.errors import UserError
from paddy_lightning.knob import PATH, TEXT, read_path

ODD = "ab=,'\"\\[](){}$~ :#%@*?!\n\té稻"
anything = st.one_of(
    st.text(st.characters(exclude_characters="\0"), min_size=1), st.text(ODD, min_size=1)
)


def test_all_that_hold_text_are_known() -> None:
    kinds = {name: text.kind for name, text in texts().items()}
    places = {
        "data.root",
        "data.csv",
        "weights",
        "start",
        "soft_labels",
        "test",
        "cache",
        "resume",
        "ckpt",
        "images",
        "bundle",
        "names",
    }
    places |= {"output", "run", "runs", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"}
    assert {name for name, kind in kinds.items() if kind == PATH} == places
    assert {name for name, kind in kinds.items() if kind == TEXT} == {"group", "message", "title"}
    assert {name for name, kind in kinds.items() if kind == NAME} == {
        *("arch", "precision", "competition", "name")
    }


def is_told_otherwise(name: str, text: str) -> bool:
    """Whether Hydra's own way to write a value is meant: quoted, null, a list, several."""
    several = texts()[name].several and text[0] + text[-1] == "[]"
    return bool(
        re.fullmatch(f"{QUOTED}|(?i:null)", text, re.DOTALL)
        or several
        or (texts()[name].kind == NAME and "," in text)
    )


def read_back(word: str) -> Any:
    """As Hydra parses it and OmegaConf resolves it."""
    (override,) = OverridesParser.create().parse_overrides([word])
    value = override.value()
    return value if value == "???" else OmegaConf.create({"knob": value})["knob"]


@pytest.mark.parametrize("name", sorted(texts()))
@given(text=anything)
@example(text="out/lr=3")
@example(text="out/it(1)")
@example(text="~/photos of 2024, all")
@example(text="choice(a,b)")
@example(text="2024_01")
@example(text="true")
@example(text="a\\")
@example(text="C:\\pictures\\new, and old\\")
@example(text="\\\\server\\share\\temp")
def test_any_text_arrives_as_it_was_typed(name: str, text: str) -> None:
    if is_told_otherwise(name, text) or (texts()[name].kind != TEXT and "${" in text):
        return
    arrived = read_path(text) if texts()[name].kind == PATH else text
    assert read_back(quote_value(f"{name}={text}")) == arrived
    assert read_back(quote_value(f"++{name}={text}")) == arrived
    quoted = quote_value(f"{name}={text}")
    assert quote_value(quoted) == quoted, "a rank or a resumed run is given it once more"


@given(st.lists(anything, min_size=1, max_size=4))
def test_a_sweep_quotes_every_value_by_itself(values: list[str]) -> None:
    values = [value.strip().replace(",", ";") for value in values]
    values = [v for v in values if v and not is_told_otherwise("data.root", v) and "${" not in v]
    if not values or re.match(r"\w+\(", values[0]) or any(v[0] in "'\"" for v in values):
        return
    word = quote_value(f"data.root={','.join(values)}", sweep=True)
    (override,) = OverridesParser.create().parse_overrides([word])
    jobs = (
        [f"data.root={v}" for v in override.sweep_string_iterator()] if len(values) > 1 else [word]
    )
    expected = [read_path(value) for value in values]
    # A job's process is given them once more, and reads them as its own words.
    assert [read_back(quote_value(quoted_again(job))) for job in jobs] == expected


@pytest.mark.parametrize(
    ("word", "sweep", "quoted"),
    [
        ("data.root=/a b, '/c,d',it's,null", True, r"data.root=/a b,'/c,d','it\'s',null"),
        ("data.root=a\\,b", True, r"data.root='a\\',b"),
        ("data.root=choice(a,b)", True, "data.root=choice(a,b)"),
        ("data.root=choice(a,b)", False, "data.root='choice(a,b)'"),
        ("start=glob(*)", True, "start=glob(*)"),
        ("hydra.sweep.dir=a,b", True, "hydra.sweep.dir='a,b'"),
        ("arch=a,b", False, "arch=a,b"),
        ("ckpt=[a=1.ckpt, 'b,c']", False, "ckpt=['a=1.ckpt','b,c']"),
        ("data.root=[2024] photos", False, "data.root='[2024] photos'"),
        ("message=cost ${x}", False, r"message='cost \${x}'"),
        ("hydra.run.dir=out/${now:%H}=x", False, "hydra.run.dir='out/${now:%H}=x'"),
        ("lr=1e-3,2e-3", True, "lr=1e-3,2e-3"),
        ("group=NULL", False, "group=NULL"),
    ],
)
def test_what_hydra_offers_is_left_to_it(word: str, sweep: bool, quoted: str) -> None:
    assert quote_value(word, sweep) == quoted


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("arch=a,b", "arch='a,b'"),
        ("size=128,192x144", "size='128,192x144'"),
        ("size=[128,96]", "size=[128,96]"),
        ("arch='a,b'", "arch='a,b'"),
        ("arch=a", "arch=a"),
        ("seed=1,2", "seed=1,2"),
    ],
)
def test_some_knobs_take_several_without_a_sweep(word: str, one: str) -> None:
    assert in_one(word, ProbeConfig) == one
    assert in_one(word, TrainConfig) == word
    assert quote_value(one) == one, "quoted once more, it stays"


def test_what_hydra_escapes_in_a_job_is_quoted() -> None:
    (override,) = OverridesParser.create().parse_overrides(["data.root=choice(a b,c)"])
    first, _ = override.sweep_string_iterator()
    assert first == "a\\ b"
    assert value_of(quoted_again(f"data.root={first}")) == "a b"


def test_home_is_found_in_every_path_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name, text in texts().items():
        assert value_of(f"{name}=~/x") == ("/home/me/x" if text.kind == PATH else "~/x")
    assert value_of("ckpt=[~/a,b]") == ["/home/me/a", "b"]


def test_home_is_found_in_files_and_notebooks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = TrainConfig(data=DataConfig(root="~/x"), start="~/run", cache="off")
    assert (config.data.root, config.start, config.cache) == ("/home/me/x", "/home/me/run", "off")
    assert PredictConfig(["~/a", "b"]).ckpt == ["/home/me/a", "b"]
    assert SubmitConfig(run="~/r", message="~/r").message == "~/r"


@settings(max_examples=15)  # composing takes long
@given(text=st.text("a'\\\"$${{}}", min_size=1))
@example(text="cost ${x}")
def test_a_message_is_taken_literally(text: str) -> None:
    """Also by OmegaConf, in the whole config: ``${`` starts nothing."""
    if is_told_otherwise("message", text):
        return
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("submit", [quote_value(f"message={text}")])
    assert OmegaConf.to_object(config).message == text  # type: ignore[union-attr]


def test_very_long_words_cost_little() -> None:
    assert value_of("data.root=" + "a=(,'" * 20_000) == "a=(,'" * 20_000
    assert len(split_values(" x ," * 20_000)) == 20_001


@pytest.mark.parametrize(
    ("words", "knobs", "flags", "sweep"),
    [
        ("lr=1 -m seed=1,2", "lr=1 seed=1,2", "-m", True),
        ("~recipe -cd my=conf +trainer.x=1", "~recipe +trainer.x=1", "-cd my=conf", False),
        ("--config-dir x x=1", "x=1", "--config-dir x", False),
        ("-i plugins lr=1", "lr=1", "-i plugins", False),
        ("--cfg job -p lr", "", "--cfg job -p lr", False),
        ("hydra.mode=MULTIRUN lr=1,2", "hydra.mode=MULTIRUN lr=1,2", "", True),
    ],
)
def test_flags_are_those_of_hydras_own_parser(
    words: str, knobs: str, flags: str, sweep: bool
) -> None:
    assert read_words(words.split()) == (knobs.split(), flags.split(), sweep)


@pytest.mark.parametrize(
    "words", ["--epochs 3", "lr = 3", "lr", "-lr=3", "-- -x=1", "=3", "-1", ""]
)
def test_another_style_is_refused(words: str) -> None:
    with pytest.raises(UserError, match="knobs are written"):
        read_words(words.split() or [""])


@given(st.lists(anything, max_size=4))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    if {"-h", "--help", "--version"} & set(words):
        return
    try:
        read = read_words(words)
    except UserError:
        return
    assert sorted([*read.knobs, *read.flags]) == sorted(words)
    for word in read.knobs:
        quote_value(word), quote_value(word, sweep=True)


def test_a_word_with_bytes_that_are_no_text_arrives() -> None:
    odd = os.fsdecode(b"caf\xe9/x=1")
    assert Path(value_of(f"data.root={odd}")) == Path(odd)


NAMES = [
    "lr",
    "data.root",
    "size",
    "trainer",
    "trainer.x.y",
    "augment",
    "epochs",
    "resize",
    "group",
]
NAMES += ["data", "recipe", "hydra.run.dir", "hydra/launcher", "nope", "a@b", "data.root.x", "seed"]
VALUES = ["", "null", "???", "[1,2]", "{a:1}", "x", "1e999", "-0", "${x}", "${", "~", "a=b", "$(x)"]


@settings(max_examples=40)  # composing takes long
@given(
    st.lists(
        st.builds(
            "{}{}={}".format,
            st.sampled_from(["", "", "", "+", "++", "~"]),
            st.sampled_from(NAMES),
            st.one_of(st.sampled_from(VALUES), anything),
        ),
        min_size=1,
        max_size=3,
    )
)
@example(["data=null"])
@example(["recipe=../recipe/pad"])
@example(["~data.root=3"])
@example(["nope" + "x" * 5000 + "=1"])
def test_any_command_line_is_a_config_or_one_line(words: list[str]) -> None:
    """Whatever Hydra raises as it composes, and its sentence says something."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            quoted = [quote_value(word) for word in read_words(words).knobs]
            config = typed(compose("train", quoted))
        except Exception as error:
            told = explain(error, TrainConfig)
        else:
            assert isinstance(config, TrainConfig)
            return
    assert told and len(told.splitlines()) == 1
