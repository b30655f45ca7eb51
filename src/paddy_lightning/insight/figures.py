"""Figures: drawn without a screen, saved whole, shown in TensorBoard as well."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paddy_lightning.faults import sentence_of
from paddy_lightning.insight.png import write_png
from paddy_lightning.lettering import legible, lettering, width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
DPI = 120
MAX_CLASSES = 40  # that a confusion matrix can show legibly
PAGE, ACROSS = 10.5, 3  # inches, and panels, that top losses are wide
TITLE, GAP = 0.5, 0.1  # inches above and between them
TITLED = 24  # letters of a name, capitals too, that leave the next panel's title its room
NUMBERED = 20  # classes up to which its cells bear numbers


def new_figure(width: float, height: float, laid_out: bool = True) -> "Figure":
    """An empty figure, in inches; no window, no global state.

    Args:
        width: In inches.
        height: In inches.
        laid_out: Whether room is found for all its labels, which takes as long as drawing them.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained" if laid_out else None)


def save_figures(
    run_dir: Path,
    drawings: dict[str, "Callable[[], Figure | None]"],
    text: dict[str, str] | None = None,
) -> None:
    """Write ``figures/<name>.png``; the same, and texts, go to the TensorBoard log there.

    Args:
        run_dir: The run folder.
        drawings: How each is made; None for one that there is nothing to draw of.
        text: Markdown.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run_dir)) as writer:  # type: ignore[no-untyped-call]
        for name, make in drawings.items():
            draw(run_dir / "figures" / f"{name}.png", make, writer)
        for name, content in (text or {}).items():
            writer.add_text(name, content)  # type: ignore[no-untyped-call]


def draw(path: Path, make: "Callable[[], Figure | None]", writer: Any = None) -> None:
    """Write a figure as PNG and, where there is one, to a TensorBoard log.

    What it is of is worth more than the figure: one that cannot be drawn is told as a warning, and
    ends nothing.
    """
    try:
        if (figure := make()) is None:
            return
        write_png(path, _render(figure), writer)
    except Exception as error:  # fonts, libraries, memory, disks
        why = sentence_of(error) or f"{type(error).__name__}: {error}"
        log.warning("the figure %s could not be drawn: %s", path, why)


def _render(figure: "Figure") -> np.ndarray:
    """uint8 [height, width, 3]; once, since text takes long to lay out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def confusion_matrix(matrix: pd.DataFrame) -> "Figure":
    """Counts, and shares of each actual class; of many classes the most confused."""
    shares = matrix.div(matrix.sum(axis=1).clip(lower=1), axis=0)
    predicted = "predicted"
    if len(matrix) > MAX_CLASSES:
        errors = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
        chosen = errors.nlargest(MAX_CLASSES).index.sort_values()
        predicted += f" (the {MAX_CLASSES} most confused of {len(matrix)} classes)"
        matrix, shares = matrix.loc[chosen, chosen], shares.loc[chosen, chosen]
    cells = 0.42 * min(max(len(matrix), 4), 18)
    names = 1.1 + 0.095 * max(width(legible(name)) for name in matrix)  # and room for the titles
    figure = new_figure(2 * (cells + names), cells + names + 0.5)
    for axes, values, name, form, darkest in zip(
        figure.subplots(1, 2), (matrix, shares), ("pictures", "share of the actual class"),
        ("{:.0f}", "{:.2f}"), (matrix.to_numpy().max(), 1), strict=True,
    ):  # fmt: skip
        _draw_matrix(axes, values, form, darkest)
        axes.set(title=name, xlabel=predicted, ylabel="actual")
    return figure


def _draw_matrix(axes: Any, values: pd.DataFrame, form: str, darkest: float) -> None:
    # Square cells would not fit.
    axes.imshow(values, cmap="Blues", vmin=0, vmax=darkest, aspect="auto")
    places, names = range(len(values)), [legible(name) for name in values]
    style = {"fontsize": 9 if len(values) <= NUMBERED else 6, **lettering(*values)}
    axes.set_xticks(places, names, rotation=90, **style)
    axes.set_yticks(places, names, **style)
    if len(values) > NUMBERED:
        return
    numbers = values.to_numpy(dtype=float)
    for row, column in zip(*np.nonzero(numbers), strict=True):
        value = numbers[row, column]
        colour = "white" if value > darkest / 2 else "black"
        size = 8 if len(values) <= 12 else 6
        how = {"ha": "center", "va": "center", "color": colour, "size": size}
        # Within its axes: the layout need not measure it.
        axes.text(column, row, form.format(value), in_layout=False, **how)


def reliability(ways: Mapping[str, pd.DataFrame]) -> "Figure":
    """Accuracy over confidence; on the diagonal, confidence can be taken at its word.

    Args:
        ways: By what they are called, ``confidence, accuracy, count``: of two, the latter's
            pictures are counted.
    """
    figure = new_figure(5, 5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    for (name, rows), color in zip(ways.items(), ("0.6", "C0"), strict=True):
        area = 30 + 400 * rows["count"] / rows["count"].sum()
        axes.plot(rows["confidence"], rows["accuracy"], color=color, zorder=2)
        axes.scatter(
            *(rows["confidence"], rows["accuracy"]), s=area, color=color, zorder=3, label=name
        )
    for row in rows.itertuples():
        place = (row.confidence, row.accuracy)
        axes.annotate(f"{row.count:.0f}", place, (9, -12), textcoords="offset points", fontsize=8)
    axes.set(xlim=(0, 1.05), ylim=(-0.03, 1.08), xlabel="confidence", ylabel="accuracy")
    figure.legend(loc="outside upper left", markerscale=0.5, frameon=False)
    return figure


def learning_curves(epochs: pd.DataFrame) -> "Figure":
    """Smoothed train loss and validation loss, and the error rate, by epoch."""
    figure = new_figure(9, 3.8)
    losses, errors = figure.subplots(1, 2)
    marks = {"marker": "o", "markersize": 4}
    losses.plot(epochs["epoch"], epochs["train_loss"], label="train (smoothed)", **marks)
    losses.plot(epochs["epoch"], epochs["valid_loss"], label="validation", **marks)
    losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    losses.legend()
    errors.plot(epochs["epoch"], epochs["error_rate"], color="C2", **marks)
    errors.set(xlabel="epoch", ylabel="error rate", ylim=(0, None))
    for axes in (losses, errors):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def top_losses(rows: pd.DataFrame, pictures: list[tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """Each picture beside what the network looked at, with what it said and what was true."""
    lines, (height, width) = -(-len(rows) // ACROSS), pictures[0][1].shape
    panel = (PAGE / ACROSS - GAP) * height / (2 * width)
    whole, gap = lines * (panel + TITLE) + GAP, GAP / PAGE / 2
    figure = new_figure(PAGE, whole, laid_out=False)
    places = {"left": gap, "right": 1 - gap, "bottom": GAP / whole, "top": 1 - TITLE / whole}
    between = {"wspace": GAP / (PAGE / ACROSS - GAP), "hspace": TITLE / panel}
    figure.subplots_adjust(**places, **between)
    grid = figure.subplots(lines, ACROSS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, row, (picture, heat) in zip(grid, rows.to_dict("records"), pictures, strict=False):
        axes.imshow(np.concatenate([picture, picture], axis=1))
        extent = (width - 0.5, 2 * width - 0.5, height - 0.5, -0.5)
        axes.imshow(heat, cmap="inferno", alpha=0.55, extent=extent)
        axes.set(xlim=(-0.5, 2 * width - 0.5), ylim=(height - 0.5, -0.5))
        names = row["predicted"], row["label"]
        said, label = (legible(name, TITLED) for name in names)
        title = f"{said} ({row['confidence']:.2f})\nis {label}, loss {row['loss']:.2f}"
        axes.set_title(title, fontsize=9, **lettering(*names))
    return figure


def contact_sheet(rows: pd.DataFrame, classes: int = 10, each: int = 6) -> "Figure | None":
    """Some pictures of the largest classes, in their own proportions; None without any."""
    from paddy_lightning.data.presize import (  # not for those who only draw curves
        Presize,
        open_presized,
    )

    sound = rows[(rows["label"] != "") & rows["height"].notna() & (rows["problem"] == "")]
    names = sorted(sound["label"].value_counts().head(classes).index)
    if not names:
        return None
    figure = new_figure(1.5 * each + 1.6, 1.25 * len(names))
    grid = figure.subplots(len(names), each, squeeze=False)
    for line, name in zip(grid, names, strict=True):
        some = sound[sound["label"] == name]
        chosen = some.iloc[np.linspace(0, len(some) - 1, min(each, len(some))).astype(int)]
        for axes in line:
            axes.set_axis_off()
        for axes, row in zip(line, chosen.to_dict("records"), strict=False):
            scale = 160 / max(row["height"], row["width"])
            size = (max(1, round(row["height"] * scale)), max(1, round(row["width"] * scale)))
            turned = row["orientation"] in (5, 6, 7, 8)
            axes.imshow(open_presized(Path(row["path"]), Presize(size[::-1] if turned else size)))
        beside = {"transform": line[0].transAxes, "ha": "right", "va": "center"}
        line[0].text(-0.08, 0.5, legible(name), **beside, **lettering(name))
    return figure
