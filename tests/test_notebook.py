"""The notebook runs from top to bottom, and what is in it came from such a run."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from pages import NOTEBOOK

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.config import TrainConfig
from paddy_lightning.data.demo import generate
from paddy_lightning.training.check import check

MEGABYTE = 2**20
TINY = """
small = {"arch": "resnet10t", "weights": "none", "presize": 48, "size": 32,
         "batch_size": 16}
bigger = small
rectangle = {"presize": "48x40", "size": "40x32"}
epochs = {"baseline": 1, "longer": 3, "methods": 1, "final": 1}
"""


def run(notebook: Any, folder: Path) -> None:
    """From top to bottom; what it leaves is looked at."""
    there = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources=there).execute()
    assert {path.name for path in folder.iterdir()} == {"data", "outputs"}
    assert len(list(folder.glob("outputs/*/final/submission.csv"))) == 1


def settings(notebook: Any) -> Any:
    """The cell that says what is trained, and how large."""
    (cell,) = (cell for cell in notebook.cells if cell.source.startswith("if data.source is "))
    return cell


def test_the_notebook_runs_with_small_settings(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cell = settings(notebook)
    cell.source = TINY + cell.source[cell.source.index("\nconfig = ") :]
    generate(tmp_path / "data" / "demo", num_train=100, num_test=10)
    run(notebook, tmp_path)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    run(nbformat.read(NOTEBOOK, as_version=4), tmp_path)


def test_one_line_makes_it_the_competition() -> None:
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells]
    line = next(cell for cell in cells if cell.startswith('data = DataConfig("demo")'))
    names: dict[str, Any] = {"DataConfig": DataConfig, "Source": Source}
    exec(line.replace('DataConfig("demo")', 'DataConfig("paddy")'), names)
    exec(cells[cells.index(line) + 1].split("config =")[0], names)
    assert names["data"].source is Source.paddy
    for knobs in (names["small"], names["bigger"], names["bigger"] | names["rectangle"]):
        check(TrainConfig(data=names["data"], **knobs))
    assert names["small"]["arch"] == "resnet26d" and names["epochs"]["final"] == 12


def test_its_outputs_are_of_one_run_in_order() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert "error" not in kinds
    errors = [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    assert not errors


def test_it_is_small_and_speaks_of_no_machine() -> None:
    assert NOTEBOOK.stat().st_size < 3 * MEGABYTE
    text = NOTEBOOK.read_text()
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/Users/", "/work/"))
