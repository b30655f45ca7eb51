"""Write knobs.md from the schema: python docs/knobs.py, or make docs."""

import re
from pathlib import Path

from paddy_lightning import config
from paddy_lightning.command_line import choices, knobs

HEAD = """# Knobs

Made from `config.py` by `make docs`; the same as `--help` says. On the command line `name=value`,
in Python the fields of the dataclass. An unknown name or a wrong value is refused before anything
runs.
"""
GROUPS = """
## Several at once

- `data=`: {data}
- `recipe=`: {recipe}
- `hydra.run.dir=FOLDER`: the folder of the run; with `-m`, `hydra.sweep.dir=FOLDER` of the sweep
"""
ROOT = Path(__file__).parents[1]


def page() -> str:
    """The whole of knobs.md."""
    parts = [HEAD, *(section(script) for script in scripts())]
    groups = {
        group: ", ".join(f"`{name}`" for name in choices(group)) for group in ("data", "recipe")
    }
    return "".join([*parts, GROUPS.format(**groups)])


def scripts() -> list[str]:
    """The scripts that take knobs, ``train.py`` first."""
    takes = [path.name for path in ROOT.glob("*.py") if "run_command(main, " in path.read_text()]
    return sorted(takes, key=lambda name: (name != "train.py", name))


def section(script: str) -> str:
    """The table of one script; what it shares with ``train.py`` is not told twice."""
    kind = re.findall(r"run_command\(main, (\w+)\)", (ROOT / script).read_text())[0]
    rows = list(knobs(getattr(config, kind)))
    about = ""
    if script != "train.py" and issubclass(getattr(config, kind), config.TrainConfig):
        rows = [row for row in rows if row not in list(knobs(config.TrainConfig))]
        about = "The knobs of `train.py`, and:\n" if rows else "The knobs of `train.py`.\n"
    cells = [(name, default, meaning.replace("|", r"\|")) for name, default, meaning in rows]
    table = "| knob | default | meaning |\n|---|---|---|\n" if rows else ""
    table += "".join(
        f"| `{name}` | `{default}` | {meaning} |\n" for name, default, meaning in cells
    )
    return "\n".join([f"\n## {script}\n", *filter(None, [about, table])])


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page())
