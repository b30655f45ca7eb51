"""The examples of extend.md: each applied to a copy of the repository, run in small, and typed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, commands, fenced, in_small, read_pages, script

EXAMPLES = {
    part.split("\n")[0]: part
    for part in re.split(r"^## ", read_pages()["extend.md"], flags=re.M)[1:]
}


def with_example(example: str, folder: Path) -> Path:
    """A copy of what runs, with the diffs applied and the files written."""
    for part in ("src", "conf"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, folder)
    for number, change in enumerate(fenced(example, "diff")):
        (folder / f"{number}.diff").write_text(change)
        subprocess.run(["git", "apply", f"{number}.diff"], cwd=folder, check=True)
    for name, content in re.findall(
        r"`(conf/[\w/]+\.yaml)`:\n\n```yaml\n(.*?)^```", example, re.M | re.S
    ):
        (folder / name).write_text(content)
    return folder


def type_example(name: str, workplace: Path, folder: Path) -> list[Path]:
    """Apply an example to a copy, type its commands, and say where their runs are."""
    changed = with_example(EXAMPLES[name], folder / "copy")
    runs = []
    for number, command in enumerate(commands(EXAMPLES[name])):
        runs.append(folder / str(number))
        script(workplace, f"{in_small(command)} hydra.run.dir={runs[-1]}", changed)
    return runs


@pytest.fixture(scope="module")
def typed(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The examples, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        folders = [tmp_path_factory.mktemp("example") for _ in EXAMPLES]
        return {
            name: pool.submit(type_example, name, workplace, folder)
            for name, folder in zip(EXAMPLES, folders, strict=True)
        }


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_a_change_works(name: str, typed: dict[str, Any]) -> None:
    runs = typed[name].result()
    assert runs and all((run / "figures").is_dir() for run in runs)


def test_the_new_resize_method_is_between_its_neighbours(tmp_path: Path) -> None:
    changed = with_example(EXAMPLES["A resize method"], tmp_path / "copy")
    code = (
        "from paddy_lightning.choices import Resize\n"
        "from paddy_lightning.data.presize import resize_box\n"
        "print(*resize_box((640, 480), (100, 100), Resize('half')))"
    )
    env = {**os.environ, "PYTHONPATH": str(changed / "src")}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert told.stdout == "0 40 480 560\n"  # squish keeps 640 of the height, crop 480


@pytest.fixture(scope="session")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """What mypy says of a tree."""
    cache = tmp_path_factory.mktemp("mypy")

    def told(folder: Path) -> str:
        command = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), "src"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout

    return told


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_changed_tree_is_well_typed(
    name: str, mypy: Callable[[Path], str], tmp_path: Path
) -> None:
    assert mypy(with_example(EXAMPLES[name], tmp_path)).startswith("Success")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "case"),
    [
        ("A resize method", "data/presize.py", "Resize.half"),
        ("A schedule", "training/build.py", "Schedule.restarts"),
    ],
)
def test_a_forgotten_case_is_named(
    name: str, file: str, case: str, mypy: Callable[[Path], str], tmp_path: Path
) -> None:
    path = with_example(EXAMPLES[name], tmp_path) / "src" / "paddy_lightning" / file
    whole = path.read_text()
    path.write_text(re.sub(rf" +case {case}:\n(?: {{12}}.*\n)+", "", whole))
    assert path.read_text() != whole
    said = mypy(tmp_path)
    assert file in said and '"assert_never"' in said
