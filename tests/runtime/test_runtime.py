"""An exported network where nothing of torch is: the same table, and mistakes in a sentence."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from desk import one_sentence
from forks import true_starts

from paddy_lightning.command_configs import PredictConfig
from paddy_lightning.csv_tables import write_table
from paddy_lightning.errors import UserError
from paddy_lightning.prediction.predict import predict, run_predict
from paddy_lightning.runtime.model import Model
from paddy_lightning.runtime.predict import find_pictures, predict_files, write_predictions

MODEL = "export/model.onnx"
NEEDED = {"onnxruntime", "numpy", "PIL", "paddy_lightning"}


def typed(*words: object) -> "subprocess.CompletedProcess[str]":
    """``python -m paddy_lightning.runtime`` where hardly anything else is installed."""
    code = (
        "import runpy, sys\n"
        "class Only:\n"
        "    def find_spec(self, name, *more):\n"
        f"        if name.split('.')[0] not in {{*{sorted(NEEDED)}, *sys.stdlib_module_names}}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Only())\n"
        "runpy.run_module('paddy_lightning.runtime', run_name='__main__')\n"
    )
    with true_starts():
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True
        )


def test_it_needs_onnxruntime_numpy_and_pillow_alone(exported: Path, stripes: Path) -> None:
    picture = stripes / "test_images" / "200000.jpg"
    result = typed(exported / MODEL, picture)
    assert result.stdout.split()[0] == predict(exported, picture).loc[0, "label"], result.stderr


def test_its_table_is_that_of_paddy_predict(exported: Path, stripes: Path, tmp_path: Path) -> None:
    """Byte for byte; with a file that cannot be read, and a name that needs quotes."""
    folder = shutil.copytree(stripes / "test_images", tmp_path / "odd")
    shutil.copy(folder / "200000.jpg", folder / 'a, "b".jpg')
    (folder / "z.jpg").write_bytes(b"no picture")
    result = typed(exported / MODEL, folder, "--output", tmp_path / "ours.csv")
    assert "z.jpg: cannot be read" in result.stderr
    run_predict(PredictConfig(str(exported / MODEL), images=str(folder), output=str(tmp_path)))
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "predictions.csv").read_bytes()


def test_any_name_survives_as_in_other_tables(exported: Path, tmp_path: Path) -> None:
    files, classes = ["a\rb.jpg", "水 \udcff.jpg", "unread.jpg"], ["x,y", "1"]
    probabilities = np.array([[0.3, 0.7], [1, 1e-20], [np.nan, np.nan]], np.float32)
    write_predictions(tmp_path / "ours.csv", files, probabilities, classes)
    import pandas as pd

    from paddy_lightning.prediction.table import predictions_table

    table = predictions_table(pd.Series(files), probabilities, classes)
    write_table(tmp_path / "theirs.csv", table)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()


def test_batches_of_any_size_say_the_same(exported: Path, stripes: Path) -> None:
    model = Model(exported / MODEL)
    root, files = find_pictures(stripes / "test_images")
    at_once, problems = predict_files(model, root, files)
    assert not problems and at_once.shape == (8, 3)
    assert np.abs(predict_files(model, root, files, batch_size=3)[0] - at_once).max() < 1e-6


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_who_is_forked_does_not_wait_for_the_threads_of_a_session(exported: Path) -> None:
    """As workers are, of a process that has such a model among its garbage."""
    code = (
        "import gc, os, signal, sys\n"
        "from pathlib import Path\n"
        "from paddy_lightning.runtime.model import Model\n"
        "gc.disable()\n"
        "garbage = {'model': Model(Path(sys.argv[1]), 2)}\n"
        "garbage['itself'] = garbage\n"
        "del garbage\n"
        "if os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "signal.alarm(20)\n"
        "gc.collect()\n"
        "os._exit(0)\n"
    )
    with true_starts():
        done = subprocess.run([sys.executable, "-c", code, exported / MODEL], capture_output=True)
    assert done.returncode == 0


def test_what_is_no_export_is_refused(exported: Path, tmp_path: Path) -> None:
    whole = (exported / MODEL).read_bytes()
    other = tmp_path / "other.onnx"
    for content in (b"", b"no model", whole[:4000], whole[: len(whole) // 2]):
        other.write_bytes(content)
        with pytest.raises(UserError, match=r"other\.onnx: cannot be read as an ONNX model"):
            Model(other)
    with pytest.raises(UserError, match="nowhere: no such file"):
        Model("nowhere")
    model = onnx.load(exported / MODEL)
    facts = {one.key: one.value for one in model.metadata_props}
    for changes, why in (
        ({"schema": "2"}, "made by a later version"),
        ({"class_names": "[a"}, "its metadata cannot be read"),
        ({"schema": "?"}, "not a model made by paddy export"),
    ):
        onnx.helper.set_model_props(model, facts | changes)
        onnx.save(model, other)
        with pytest.raises(UserError, match=why):
            Model(other)


def test_a_mistake_is_one_sentence(exported: Path, tmp_path: Path) -> None:
    for words, said in (
        (["nowhere", tmp_path], "nowhere: no such file"),
        ([exported / MODEL, tmp_path / "none"], "none: not there"),
        ([exported / MODEL, tmp_path], "no pictures in it"),
    ):
        one_sentence(typed(*words), said)  # type: ignore[arg-type]
