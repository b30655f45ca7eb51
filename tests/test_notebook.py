"""The notebook runs from top to bottom, and what is in it came from such a run."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from pages import NOTEBOOK

MEGABYTE = 2**20


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    there = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources=there).execute()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"data", "outputs"}
    assert len(list(tmp_path.glob("outputs/*/final/submission.csv"))) == 1


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
