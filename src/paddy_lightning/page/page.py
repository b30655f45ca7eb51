"""``paddy page``: a trained network as a folder of static files that any browser can use."""

import hashlib
import html
import json
import logging
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any

from paddy_lightning.atomic import replace
from paddy_lightning.command_configs import PageConfig
from paddy_lightning.csv_tables import read_table
from paddy_lightning.errors import UserError
from paddy_lightning.export.export import FOLDER, MODEL, export_run
from paddy_lightning.insight.interpret import look_into
from paddy_lightning.lettering import printable
from paddy_lightning.page.card import about, as_shown, model_card, sure_from
from paddy_lightning.page.icons import icon
from paddy_lightning.page.onnxruntime_web import VERSION, find_runtime
from paddy_lightning.page.serve import serve
from paddy_lightning.runs.run_folder import read_config, read_predictions
from paddy_lightning.runtime.model import Model

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
COPIED = ("page.css", "page.js", "presize.js")
ICONS = {"icon-180.png": 180, "icon-192.png": 192, "icon-512.png": 512}
READ = ("README.md", "LICENSES.txt")  # by people; not kept for use without a network
WORKER = "sw.js"
TOLD = ("class_names", "presize", "size", "resize", "pad_mode", "draft", "arch", "licence")
GREEN = "#0b4a22"


def run_page(config: PageConfig) -> Path:
    """``paddy page``: write the folder, say how large it is and, if asked to, show it.

    Returns:
        The folder.

    Raises:
        UserError: No such run, names that do not fit, or a folder that holds something else.
    """
    if not config.run:
        raise UserError("say which run, with run=RUN_FOLDER")
    folder = write_page(Path(config.run), config.title, config.names)
    size = sum(path.stat().st_size for path in folder.iterdir())
    log.info("wrote %s (%.0f MB); any host of static files can serve it", folder, size / 1e6)
    if config.serve:
        serve(folder)
    return folder


def write_page(run_dir: Path, title: str | None = None, names: str | None = None) -> Path:
    """Write ``page/`` in a run's folder, whole, in place of an earlier one.

    Args:
        run_dir: The folder of a finished run; it is exported first if it has not been.
        title: Of the page; None for the name of the data.
        names: A table of what to show for the classes.

    Raises:
        UserError: As ``run_page``.
    """
    config = read_config(run_dir)
    folder = run_dir / "page"
    _refuse_others(folder)
    exported = run_dir / FOLDER / MODEL
    facts = Model(exported if exported.is_file() else export_run(run_dir), threads=1).facts
    shown = shown_names(facts["class_names"], Path(names) if names else None)
    title = title or readable(Path(str(config.data.root)).name)
    with tempfile.TemporaryDirectory(dir=run_dir, prefix=".page.") as temporary:
        made = Path(temporary, folder.name)
        made.mkdir()
        shutil.copyfile(exported, made / MODEL)
        fill(made, run_dir, title, facts, shown)
        shutil.rmtree(folder, ignore_errors=True)
        replace(made, folder)
    return folder


def fill(folder: Path, run_dir: Path, title: str, facts: dict[str, Any], shown: list[str]) -> None:
    """Write all but the model into a folder that holds that."""
    for source in (*(STATIC / name for name in COPIED), *find_runtime()):
        shutil.copyfile(source, folder / source.name)
    for name, side in ICONS.items():
        icon(side).save(folder / name)
    valid = as_shown(read_predictions(run_dir / "valid_predictions.csv"), facts["temperature"])
    sure = sure_from(valid)
    told = {name: facts[name] for name in TOLD} | {"shown": shown, "sure_from": sure}
    _write(folder / "model.json", json.dumps(told, indent=2, ensure_ascii=False))
    _write(folder / "manifest.webmanifest", json.dumps(manifest(title), ensure_ascii=False))
    _write(folder / "README.md", model_card(run_dir, title, facts, valid))
    _write(folder / "LICENSES.txt", licences(facts["licence"]))
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name not in READ)
    page = string.Template((STATIC / "index.html").read_text("utf-8")).substitute(
        title=html.escape(title),
        about=html.escape(about(look_into(run_dir))),
        megabytes=round(size / 1e6),
    )
    _write(folder / "index.html", page)
    _write(folder / WORKER, worker(folder))


def worker(folder: Path) -> str:
    """The service worker, with the files it keeps and a name for these very contents."""
    files = sorted(path for path in folder.iterdir() if path.name not in (*READ, WORKER))
    contents = hashlib.sha256()
    for path in files:
        contents.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    kept = ["./", *(path.name for path in files if path.name != "index.html")]
    script = (STATIC / WORKER).read_text("utf-8")
    script = script.replace("$version", contents.hexdigest()[:16])
    return script.replace("$files", json.dumps(kept))


def manifest(title: str) -> dict[str, Any]:
    """What a phone must know to install the page as an app."""
    icons = [
        {"src": name, "sizes": f"{side}x{side}", "type": "image/png", "purpose": "any maskable"}
        for name, side in ICONS.items()
        if side != ICONS["icon-180.png"]  # Apple's, which reads it from the page
    ]
    names = {"name": title, "short_name": title, "start_url": "./", "scope": "./"}
    return names | {
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": GREEN,
        "icons": icons,
    }


def shown_names(class_names: list[str], table: Path | None) -> list[str]:
    """What the page calls each class: as the table says, else its own name, readable.

    Raises:
        UserError: The table lacks a column, names a class twice or one there is not, or shows
            nothing for one.
    """
    shown = {name: readable(name) for name in class_names}
    if table is not None:
        rows = read_table(table)
        if missing := [column for column in ("label", "shown") if column not in rows]:
            raise UserError(f"names={table}: has no column {missing[0]}; it needs label and shown")
        for label, name in zip(rows["label"], rows["shown"], strict=True):
            if label not in shown:
                there = ", ".join(map(printable, class_names))
                raise UserError(f"names={table}: {printable(label)} is no class; there is {there}")
            if not name.strip():
                raise UserError(f"names={table}: shows nothing for {printable(label)}")
        if twice := rows["label"][rows["label"].duplicated()].tolist():
            raise UserError(f"names={table}: names {printable(twice[0])} twice")
        shown |= dict(zip(rows["label"], map(printable, rows["shown"]), strict=True))
    return list(shown.values())


def readable(name: str) -> str:
    """``angular_leaf_spot`` as people write it."""
    words = printable(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def licences(weights: str) -> str:
    """The licences of all that a page brings."""
    parts = [
        f"The page and its scripts: Paddy Lightning, Apache License 2.0, below.\n"
        f"The network in {MODEL}: trained from weights whose licence is {weights}.\n"
        f"ort*.mjs and ort*.wasm: onnxruntime-web {VERSION}, MIT License, below, and parts of"
        " others, named below it.",
        (STATIC / "apache-2.0.txt").read_text("utf-8"),
    ]
    import onnxruntime  # slow, and there: the model has been read with it

    package = Path(onnxruntime.__file__).parent
    parts += [(package / name).read_text("utf-8") for name in ("LICENSE", "ThirdPartyNotices.txt")]
    return f"\n{'=' * 80}\n\n".join(parts)


def _refuse_others(folder: Path) -> None:
    """Refuse a folder that holds what is no page's.

    Raises:
        UserError: It does.
    """
    ours = {*COPIED, *ICONS, *READ, WORKER, MODEL, *(path.name for path in STATIC.iterdir())}
    ours |= {"model.json", "manifest.webmanifest", "index.html"}
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.name not in ours and not path.name.startswith("ort"):
            raise UserError(f"{path}: is no part of a page; move it away")


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", errors="backslashreplace")
