"""Write knobs.md from the schema: python docs/knobs.py, or make docs."""

from pathlib import Path

from paddy_lightning.cli.commands import COMMANDS
from paddy_lightning.cli.help import choices, knobs
from paddy_lightning.config import TrainConfig

HEAD = """# Knobs

Made from `config.py` and `command_configs.py` by `make docs`; the same as `--help` says. On the
command line `name=value`, in Python the fields of the dataclass. An unknown name or a wrong value
is refused before anything runs.
"""
GROUPS = """
## Several at once

- `data=`: {data}
- `recipe=`: {recipe}
- `hydra.run.dir=FOLDER`: the folder of the run; with `-m`, `hydra.sweep.dir=FOLDER` of the sweep
"""


def page() -> str:
    """The whole of knobs.md."""
    parts = [HEAD, *(section(name) for name in sorted(COMMANDS, key=lambda name: name != "train"))]
    groups = {
        group: ", ".join(f"`{name}`" for name in choices(group)) for group in ("data", "recipe")
    }
    return "".join([*parts, GROUPS.format(**groups)])


def section(name: str) -> str:
    """The table of one command; what it shares with ``train`` is not told twice."""
    kind = COMMANDS[name].kind
    rows = list(knobs(kind))
    about = ""
    if name != "train" and issubclass(kind, TrainConfig):
        rows = [row for row in rows if row not in list(knobs(TrainConfig))]
        about = "The knobs of `paddy train`, and:\n" if rows else "The knobs of `paddy train`.\n"
    cells = [(knob, default, meaning.replace("|", r"\|")) for knob, default, meaning in rows]
    table = "| knob | default | meaning |\n|---|---|---|\n" if rows else ""
    table += "".join(
        f"| `{knob}` | `{default}` | {meaning} |\n" for knob, default, meaning in cells
    )
    return "\n".join([f"\n## paddy {name}\n", *filter(None, [about, table])])


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page())
