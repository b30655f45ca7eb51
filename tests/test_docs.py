"""What the documentation says is true: its commands, code blocks, examples, tables and messages.

Really run, on a few small pictures and with small sizes: the README's commands of one run (survey,
probe, lr_find, train, predict, interpret, compare, the ensemble, the two cycles), its Python block,
every command of faq.md and, in test_extend.py, the examples of extend.md. Only composed and
checked, as the scripts do before anything is trained: all other commands, sweeps and recipes among
them, job by job. Resuming, sweeps, soups and the finder with ``start=`` run in tests of their own;
``make`` targets are looked up here, and run by CI and by people.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from pages import ROOT, all_commands, commands, fenced, in_small, read_pages, script

from paddy_lightning.cli.commands import COMMANDS
from paddy_lightning.cli.help import CONF
from paddy_lightning.cli.schemas import register_schemas
from paddy_lightning.cli.words import in_one, quote_value
from paddy_lightning.command_configs import ProbeConfig
from paddy_lightning.config import TrainConfig
from paddy_lightning.runs import summary
from paddy_lightning.training.check import check

PAGES = read_pages()
SETUP = (
    *("source .venv/bin/activate", "pip install ", ".venv/bin/tensorboard ", "jupyter "),
    *("git clone ", "python -m benchmarks.", "python -c "),  # test_benchmarks.py
    *("torchrun ", "srun "),  # test_ranks.py
    "python -m paddy_lightning.runtime ",  # test_runtime.py
    *("pip download ", "pip wheel ", "git archive ", "!", "%pip "),  # for a Kaggle notebook
)


def test_there_is_something_to_test() -> None:
    assert len(all_commands()) > 30
    assert {"README.md", "extend.md", "faq.md", "knobs.md"} <= set(PAGES)


@pytest.mark.parametrize(("page", "command"), all_commands())
def test_a_command_composes(page: str, command: str) -> None:
    del page
    if command.startswith("make "):
        target = command.split()[1]
        assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(), re.M)
    elif not command.startswith(SETUP):
        for config in compose_all(command):
            if isinstance(config, TrainConfig) and config.resume is None:
                several = config.candidates() if isinstance(config, ProbeConfig) else [config]
                for one in several:
                    check(one)


def compose_all(command: str) -> list[Any]:
    """The typed config of a command, or of every job of a sweep."""
    program, name, *words = shlex.split(command.replace("arch=...,...", "arch=resnet26d,resnet18"))
    if program == "python":
        assert (ROOT / name).is_file()
        name = Path(name).stem
    kind, sweep = COMMANDS[name].kind, "-m" in words
    words = [word for word in words if word not in ("-m", "--help")]
    words = [quote_value(word if sweep else in_one(word, kind), sweep) for word in words]
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
        jobs = BasicSweeper.split_arguments(overrides, None)[0]
        assert len(jobs) == 1 or "-m" in command
        return [OmegaConf.to_object(compose(name.replace("-", "_"), list(job))) for job in jobs]


def test_the_commands_of_one_run_run(workplace: Path) -> None:
    # The last wants Kaggle's test pictures, which tests of predicting have.
    long = re.compile(
        r" -m |lr-find start=|resume=|trainer\.devices|recipe=|data\.root=bean|soup |page |labels"
        r"|test=|predict ckpt=outputs/RUN tta=true$"
    )
    done = []
    for command in commands(PAGES["README.md"]):
        if not command.startswith("paddy ") or long.search(command) or "--help" in command:
            continue
        runs = sorted(path.parent for path in workplace.glob("outputs/*/checkpoints"))
        named = dict(zip(("outputs/A", "outputs/B"), map(str, runs[-2:]), strict=False))
        named |= {"outputs/RUN": str(runs[0])} if runs else {}
        named |= {"outputs/sweeps/SWEEP": "outputs", "FILE_OR_FOLDER": "PICTURES"}
        if command.split()[1] in ("download", "submit", "push"):  # need a token: tests of their own
            continue
        for name, real in named.items():
            command = command.replace(name, real)
        survey = " survey " in command  # finds stripes that look alike, and exits with 1
        told = script(workplace, in_small(command), check=not survey)
        assert not survey or "sizes (height x width)" in told.stdout
        done.append(command.split()[1])
    expected = {"survey", "probe", "lr-find", "train"}
    expected |= {"predict", "interpret", "compare", "bundle", "export"}
    assert set(done) == expected and len(done) >= 9


@pytest.mark.parametrize(
    ("page", "code"), [(name, code) for name in PAGES for code in fenced(PAGES[name], "python")]
)
def test_a_python_block_runs(
    page: str, code: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del page
    monkeypatch.chdir(workplace)
    small = 'weights="none", presize=48, size=32, epochs=1, batch_size=16, num_workers=0, '
    exec(code.replace("TrainConfig(data=", f"TrainConfig({small}data="), {})


# faq.md: every command is typed, and what it prints compared.

ANSWERS = re.findall(r"^    \$ (.*)\n    (error: .*)$", PAGES["faq.md"], re.M)


@pytest.fixture(scope="module")
def refused(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the answers speak of: pictures, broken ones, and a finished run."""
    folder = tmp_path_factory.mktemp("refused")
    shutil.copytree(stripes / "train_images", folder / "PICTURES")
    shutil.copytree(stripes / "train_images", folder / "BROKEN")
    whole = (folder / "BROKEN" / "down" / "down00.jpg").read_bytes()
    (folder / "BROKEN" / "down" / "cut.jpg").write_bytes(whole[:300])
    train = "paddy train data=folder data.root=PICTURES hydra.run.dir=RUN"
    script(folder, in_small(train))
    return folder


@pytest.fixture(scope="module")
def printed(refused: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """What each command prints; two at a time, since most of it is waiting for imports."""
    typed = [command for command, _ in ANSWERS]
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(partial(script, refused, check=False), typed)
        return dict(zip(typed, results, strict=True))


def test_every_message_of_the_faq_has_its_command() -> None:
    assert len(ANSWERS) == len(re.findall("^    error: ", PAGES["faq.md"], re.M)) > 15


@pytest.mark.parametrize(("command", "answer"), ANSWERS)
def test_an_answer_of_the_faq_is_what_is_printed(
    command: str,
    answer: str,
    refused: Path,
    printed: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    assert printed[command].returncode in (1, 2)
    said = printed[command].stderr.strip().replace(f"{refused}/", "")
    pattern = re.escape(answer).replace(re.escape("..."), ".*")
    assert re.fullmatch(pattern, said), said


# The tables.


def test_the_knobs_are_those_of_the_schema() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "knobs.py"))["page"]()
    assert page == PAGES["knobs.md"], "stale: run make docs"


def test_the_layout_names_every_module() -> None:
    package = ROOT / "src" / "paddy_lightning"
    modules = {str(path.relative_to(package)) for path in package.rglob("[!_]*.py")}
    assert modules == set(re.findall(r"`([\w/]+\.py)`", PAGES["layout.md"])) - {"test_docs.py"}


def test_links_lead_somewhere() -> None:
    for name, text in PAGES.items():
        folder = {"README.md": ROOT, "road_to_the_top.ipynb": ROOT / "notebooks"}.get(name)
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("http") or ((folder or ROOT / "docs") / target).exists(), (
                target
            )


def test_both_sides_of_the_table_for_fastai_exist() -> None:
    rows = re.findall(r"^\| `.*\|$", PAGES["from_fastai.md"], re.M)
    for row in rows:
        _, typed, called = row.strip("| ").split(" | ")
        for span in re.findall(r"`([^`]+)`", typed):
            if "=" in span and not span.startswith("paddy") and span != "show=true":
                of = "predict" if span.startswith("ckpt") else "train"
                compose_all(f"paddy {of} {span}")
        for module, name in re.findall(r"`([\w.]+)\.(\w+)`", called):
            assert hasattr(import_module(f"paddy_lightning.{module}"), name), (module, name)
    assert len(rows) > 25


def test_the_package_runs_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from README's bundle in a Kaggle notebook, which knows its source by PYTHONPATH alone."""

    def unknown(name: str) -> str:
        if name == "paddy-lightning":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(summary, "version", unknown)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert summary.versions()["paddy-lightning"] == project["version"]
