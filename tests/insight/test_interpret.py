"""Looking into a run, from its folder alone."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small import small
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paddy_lightning.errors import UserError
from paddy_lightning.insight.figures import confusion_matrix, top_losses
from paddy_lightning.insight.grad_cam import attention
from paddy_lightning.insight.interpret import interpret, look_into
from paddy_lightning.network.model import build_model
from paddy_lightning.runs.valid_right import read_right
from paddy_lightning.training.train import train

FIGURES = {"confusion_matrix", "reliability", "learning_curves", "top_losses"}


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interpret")
    shutil.copytree(stripes, folder / "data")
    train(small(folder / "data", epochs=3), folder / "run")
    return folder / "run"


def test_every_run_ends_with_it(run: Path) -> None:
    for name in FIGURES | {"augmented_batch"}:
        assert np.asarray(Image.open(run / "figures" / f"{name}.png")).std() > 5
    events = EventAccumulator(str(run))
    events.Reload()
    assert set(events.Tags()["images"]) >= FIGURES
    assert "interpretation/text_summary" in events.Tags()["tensors"]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["error_low"] <= summary["error_rate"] <= summary["error_high"]
    assert 0 <= summary["macro_f1"] <= 1 and 0 <= summary["calibration_error"] <= 1
    assert summary["advice"] in (run / "interpretation.md").read_text()


def test_the_numbers_agree_with_the_predictions(run: Path) -> None:
    found = look_into(run)
    valid = pd.read_csv(run / "valid_predictions.csv")
    counts = pd.crosstab(valid["label"], valid["predicted"])
    for label in counts.index:
        for predicted in counts.columns:
            assert found.matrix.loc[label, predicted] == counts.loc[label, predicted]
    right = valid["label"] == valid["predicted"]
    assert found.confused["count"].sum() == (~right).sum()
    assert (found.confused["label"] != found.confused["predicted"]).all()
    assert found.classes["support"].tolist() == valid["label"].value_counts().sort_index().tolist()
    for row in found.classes.itertuples():
        said, is_so = valid["predicted"] == row.label, valid["label"] == row.label
        hits = (said & is_so).sum()
        assert row.recall == pytest.approx(hits / is_so.sum())
        assert row.precision == pytest.approx(hits / max(1, said.sum()))
    assert found.top_losses["loss"].tolist() == sorted(valid["loss"], reverse=True)[:9]
    assert found.reliability["count"].sum() == len(valid)
    weights = found.reliability["count"] / len(valid)
    assert (found.reliability["accuracy"] * weights).sum() == pytest.approx(right.mean())


def test_each_epoch_keeps_which_pictures_it_got_right(run: Path) -> None:
    """In the order of the predictions, which are those of the best epoch."""
    right, epochs = read_right(run), pd.read_csv(run / "metrics.csv")
    assert list(right) == epochs["epoch"].tolist() == [1, 2, 3, 4]
    for epoch, error_rate in zip(epochs["epoch"], epochs["error_rate"], strict=True):
        assert 1 - right[epoch].mean() == pytest.approx(error_rate, abs=1e-6)
    best = json.loads((run / "summary.json").read_text())["kept_epoch"]
    valid = pd.read_csv(run / "valid_predictions.csv")
    assert (valid["label"] == valid["predicted"]).tolist() == right[best].astype(bool).tolist()
    assert read_right(run / "figures") == {}


def test_on_demand_from_a_folder_that_was_moved(
    run: Path, tmp_path: Path, run_script: Callable[..., "object"]
) -> None:
    """Without the data set, too: only the pictures of the top losses are missing then."""
    moved = shutil.copytree(run, tmp_path / "moved")
    for name in ("figures", "classes.csv", "confused.csv", "interpretation.md"):
        path = moved / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    data = run.parent / "data"
    data.rename(run.parent / "gone")
    try:
        result = run_script("interpret", f"run={moved}")
    finally:
        (run.parent / "gone").rename(data)
    assert result.returncode == 0, result.stderr  # type: ignore[attr-defined]
    assert "no pictures of the top losses" in result.stdout  # type: ignore[attr-defined]
    assert {path.stem for path in (moved / "figures").iterdir()} == FIGURES - {"top_losses"}
    for name in ("classes.csv", "confused.csv"):
        assert (moved / name).read_text() == (run / name).read_text()
    assert interpret(moved).summary == look_into(run).summary
    assert (moved / "figures" / "top_losses.png").exists()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("figures.confusion_matrix", "confusion_matrix"),
        ("figures.learning_curves", "learning_curves"),
        ("grad_cam.attention", "top_losses"),
    ],
)
def test_a_figure_that_cannot_be_drawn_ends_nothing(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
    name: str,
) -> None:
    moved = shutil.copytree(run, tmp_path / "moved")
    (moved / "figures" / f"{name}.png").unlink()

    def fails(*_: object) -> None:
        raise RuntimeError("no such glyph")

    monkeypatch.setattr(f"paddy_lightning.insight.{place}", fails)
    assert interpret(moved).summary == look_into(run).summary
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and f"{name}.png could not be drawn" in warned[0]
    drawn = {path.stem for path in (moved / "figures").iterdir()}
    assert drawn == (FIGURES | {"augmented_batch"}) - {name}


def test_what_is_no_finished_run_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        interpret(tmp_path)
    shutil.copy(run / "config.yaml", tmp_path)
    with pytest.raises(UserError, match="is not done"):
        interpret(tmp_path)


@pytest.mark.parametrize(
    "arch", ["resnet10t", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"]
)
def test_attention_of_any_body(arch: str) -> None:
    torch.manual_seed(0)
    network = build_model(arch, 3, "none", (64, 96)).eval()
    maps = attention(network, torch.randn(2, 3, 64, 96), torch.tensor([0, 2]))
    assert maps.shape == (2, 64, 96) and not maps.requires_grad
    assert maps.amin() >= 0 and maps.amax() <= 1 and maps.std() > 0


def test_attention_goes_where_the_evidence_is() -> None:
    """A network that sums up the red channel must look at what is red."""
    network = build_model("resnet10t", 2, "none", (64, 64)).eval()
    network.body.forward_features = (
        lambda pictures: torch.nn.functional.avg_pool2d(  # type: ignore[assignment]
            pictures[:, :1], 8
        ).expand(-1, 512, -1, -1)
    )
    for layer in network.head:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.constant_(layer.weight, 0.1)
    picture = torch.zeros(1, 3, 64, 64)
    picture[:, 0, 40:56, 8:24] = 1
    heat = attention(network, picture, torch.tensor([0]))[0]
    assert heat[48, 16] > 0.9 and heat[:32].max() < 0.1 and heat[:, 40:].max() < 0.1


def test_a_matrix_of_many_classes_shows_the_most_confused() -> None:
    names = [f"class number {number}" for number in range(200)]
    counts = pd.DataFrame(np.eye(200, dtype=int) * 5, names, names)
    counts.iloc[150, 160] = 9
    figure = confusion_matrix(counts)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == 40 and {"class number 150", "class number 160"} <= set(labels)
    shares = np.asarray(figure.axes[1].images[0].get_array())
    row, column = (labels.index(f"class number {number}") for number in (150, 160))
    assert shares[row, row] == pytest.approx(5 / 14) and shares[row, column] == pytest.approx(
        9 / 14
    )


def test_shares_of_a_class_count_what_is_not_drawn() -> None:
    """It is taken for 60 others in turn, of which 39 are drawn: its recall stays .10."""
    names = [f"c{number:02}" for number in range(60)]
    counts = pd.DataFrame(np.eye(60, dtype=int), names, names)
    counts.iloc[0] = 9
    counts.iloc[0, 0] = 59
    figure = confusion_matrix(counts)
    shares = np.asarray(figure.axes[1].images[0].get_array())
    assert figure.axes[0].get_yticklabels()[0].get_text() == "c00"
    assert shares[0, 0] == pytest.approx(59 / (59 + 59 * 9))
    assert "40 most confused of 60" in figure.axes[0].get_xlabel()
    assert figure.axes[1].images[0].get_clim() == (0, 1)  # the darkest is all, not the most


@pytest.mark.parametrize(
    ("classes", "name"), [(2, "{}"), (10, "bacterial_panicle_blight{}"), (45, "x{}")]
)
def test_nothing_of_a_matrix_is_cut_off(classes: int, name: str) -> None:
    names = [name.format(number) for number in range(classes)]
    figure = confusion_matrix(pd.DataFrame(np.eye(classes, dtype=int), names, names))
    figure.savefig(io.BytesIO())
    inches = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    slack = 0.05
    assert min(inches.x0, inches.y0) >= -slack
    assert inches.x1 <= width + slack and inches.y1 <= height + slack


@pytest.mark.parametrize("name", ["bacterial_leaf_blight_of_the_lower_leaves", "BROWN_MOULD_" * 6])
def test_titles_of_top_losses_stay_above_their_pictures(name: str) -> None:
    """However long the names: nobody looks for a layout that would make them room."""
    row = {"predicted": name, "label": name, "confidence": 0.52, "loss": 14.91}
    picture = (np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.float32))
    figure = top_losses(pd.DataFrame([row] * 4), [picture] * 4)
    figure.canvas.draw()
    for axes in figure.axes[:4]:
        title, panel = axes.title.get_window_extent(), axes.get_window_extent()
        assert panel.x0 <= title.x0 and title.x1 <= panel.x1 and title.y0 >= panel.y1
        assert title.y1 <= figure.bbox.y1
