"""Figures: drawn without a screen, saved whole, shown in TensorBoard as well."""

from pathlib import Path
from typing import TYPE_CHECKING

from paddy_lightning.atomic import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches; no window, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save_figures(run_dir: Path, figures: dict[str, "Figure"]) -> None:
    """Write ``figures/<name>.png``, and the same to the TensorBoard log in ``run_dir``."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run_dir)) as writer:  # type: ignore[no-untyped-call]
        for name, figure in figures.items():
            with written_whole(run_dir / "figures" / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png")
            writer.add_figure(name, figure)  # type: ignore[no-untyped-call]
