"""What predicts in a notebook without internet: made, installed there, and sent to Kaggle."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from desk import NAME, Desk, one_sentence
from kaggle_server import TOKEN
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import NOTEBOOK

from paddy_lightning.command_configs import BundleConfig
from paddy_lightning.errors import UserError
from paddy_lightning.kaggle.bundle import CELLS, LACKING, run_bundle
from paddy_lightning.kaggle.wheels import pack_wheel

MEGABYTE = 10**6


@pytest.fixture(scope="session")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the run."""
    output = tmp_path_factory.mktemp("bundled") / "bundle"
    return run_bundle(BundleConfig(str(finished), str(output)))


@dataclass(frozen=True)
class Image:
    """A Python as Kaggle's notebooks have it: all that is installed here but what is bundled."""

    bin: Path
    home: Path

    def run(self, *words: str, cwd: Path, **environment: str) -> str:
        """What ``python -m WORDS`` prints."""
        own = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        own |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
        result = subprocess.run(
            [str(self.bin / "python"), "-m", *words],
            cwd=cwd,
            env=own | environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, (result.stdout, result.stderr)
        return result.stdout + result.stderr

    def packages(self) -> set[str]:
        """As name==version."""
        return set(self.run("pip", "list", "--format=freeze", cwd=self.home).split())


@pytest.fixture
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    (folder / "home").mkdir()
    venv.create(folder / "venv", symlinks=True)
    (folder / "packages").mkdir()
    left_out = {re.sub("[-_.]+", "_", name) for name in ("paddy-lightning", *LACKING, "hydra")}
    left_out -= {"kornia", "imagehash"}  # there, as Kaggle's own list says
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not any(path.name.lower().lstrip("_").startswith(name) for name in left_out):
            (folder / "packages" / path.name).symlink_to(path)
    config = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    purelib = Path(sysconfig.get_path("purelib", "venv", config))
    (purelib / "image.pth").write_text(f"{folder / 'packages'}\n")
    return Image(folder / "venv" / "bin", folder / "home")


def test_what_is_bundled_is_what_colab_lacks() -> None:
    """All we need in pure Python is there, or in the list of Colab's packages that we test with."""
    listed = (ROOT / "requirements-colab.txt").read_text()
    there = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", listed, re.MULTILINE)}
    needed = {canonicalize_name(Requirement(text).name) for text in project()["dependencies"]}
    assert needed - there == set(LACKING) - {"lightning-utilities"}
    assert set(LACKING) <= needed | {
        canonicalize_name(Requirement(text).name) for text in requires("pytorch-lightning") or []
    }


def project() -> dict[str, list[str]]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_a_bundle_is_small_and_says_so(bundle: Path) -> None:
    files = {path.name for path in (bundle / "data").iterdir()}
    assert {re.split(r"-\d", name)[0] for name in files} == {
        *("paddy_lightning", "run.ckpt"),
        *(name.replace("-", "_") for name in LACKING),
    }
    wheels = sum(path.stat().st_size for path in bundle.glob("data/*.whl"))
    assert wheels < 6 * MEGABYTE
    assert {path.name for path in bundle.iterdir()} == {"data", "predict.ipynb"}


def test_a_wheel_has_what_its_record_says(tmp_path: Path) -> None:
    with zipfile.ZipFile(pack_wheel("paddy-lightning", tmp_path)) as wheel:
        names = wheel.namelist()
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        listed = [row.rsplit(",", 2)[0] for row in wheel.read(record).decode().splitlines()]
    assert sorted(listed) == sorted(names) and "paddy_lightning/conf/train.yaml" in names
    assert "paddy_lightning/kaggle/bundle.py" in names
    assert not any("__pycache__" in name or "direct_url" in name for name in names)


@pytest.mark.parametrize(
    ("name", "said"), [("numpy", "its wheel is of one system"), ("nowhere", "is not installed")]
)
def test_what_cannot_be_packed_is_named(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"{name}: {said}"):
        pack_wheel(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_it_predicts_where_nothing_can_be_fetched(
    bundle: Path, image: Image, stripes: Path, finished: Path, tmp_path: Path
) -> None:
    """The notebook itself, by IPython, in a Python that lacks what the bundle brings."""
    shutil.copytree(bundle / "data", tmp_path / "data" / "of-mine")
    (tmp_path / "data" / NAME).symlink_to(stripes)
    before = image.packages()
    notebook = shutil.copy(bundle / "predict.ipynb", tmp_path)
    assert "predictions.csv (8 rows)" in image.run("IPython", str(notebook), cwd=tmp_path)
    new = {line.split("==")[0] for line in image.packages() - before}
    assert new == {"paddy-lightning", *LACKING} - {"kornia", "ImageHash", "imagehash"}
    assert before < image.packages(), "something there was replaced"
    sent, ours = (pd.read_csv(folder / "submission.csv") for folder in (tmp_path, finished))
    assert sent["image_id"].tolist() == ours["image_id"].tolist()


@pytest.mark.parametrize("place", ["a clone", "a wheel"])
def test_the_storys_first_cell_installs(
    bundle: Path, image: Image, tmp_path: Path, place: str
) -> None:
    """In a folder with a clone of this, or its wheel, and with what PyPI would give."""
    (cell,) = (
        cell["source"]
        for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
        if "%pip install" in "".join(cell["source"])
    )
    if place == "a wheel":
        shutil.copy(next(bundle.glob("data/paddy_lightning-*.whl")), tmp_path)
    else:
        (clone := tmp_path / "paddy-lightning").mkdir()
        for name in ("src", "conf", "pyproject.toml", "README.md", "LICENSE"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, clone / name)
    (tmp_path / "cell.ipy").write_text("".join(cell))
    packages = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bundle / "data")}
    before = image.packages()
    image.run("IPython", "cell.ipy", cwd=tmp_path, PIP_NO_BUILD_ISOLATION="0", **packages)
    assert before < image.packages()
    assert image.run("paddy_lightning", "--help", cwd=tmp_path).startswith("paddy COMMAND")


def test_an_ensemble_is_bundled_and_a_folder_of_others_is_not_touched(
    finished: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(finished, tmp_path / "other")
    with pytest.raises(UserError, match="say where the bundle goes, with output=FOLDER"):
        run_bundle(BundleConfig([str(finished), str(other)]))
    config = BundleConfig([str(finished), str(other)], str(tmp_path / "both"))
    for _ in range(2):  # over an earlier one
        run_bundle(config)
    networks = {path.name for path in tmp_path.glob("both/data/*.ckpt")}
    assert networks == {"run.ckpt", "other.ckpt"}
    (tmp_path / "both" / "data" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt: is no part of a bundle; choose another out"):
        run_bundle(config)
    with pytest.raises(UserError, match="say which run"):
        run_bundle(BundleConfig())
    assert (tmp_path / "both" / "data" / "notes.txt").exists()


def test_push(desk: Desk, run: Path) -> None:
    result = desk.type("bundle", f"run={run}")
    assert result.returncode == 0, result.stderr
    assert re.search(r"MB +paddy_lightning-\d.*-py3-none-any\.whl", result.stdout)
    assert f"paddy push bundle={run}/bundle sends it to Kaggle" in result.stdout
    for version in (1, 2):
        result = desk.type("push", f"bundle={run}/bundle", f"competition={NAME}")
        assert result.returncode == 0, result.stderr
        name = f"somebody/{NAME}-bundle"
        assert f"https://www.kaggle.com/code/{name}-predict" in result.stdout
        assert len(desk.kaggle.data_sets[name]) == version
    files = {path.name: path.read_bytes() for path in (run / "bundle" / "data").iterdir()}
    for tokens in desk.kaggle.data_sets[name]:
        there = {token.rsplit("/", 1)[-1]: desk.kaggle.uploads[token] for token in tokens}
        assert there == files
    first, second = desk.kaggle.notebooks
    assert first == second and first["isPrivate"] and not first["enableInternet"]
    assert first["datasetDataSources"] == [name] and first["competitionDataSources"] == [NAME]
    cells = json.loads(first["text"])["cells"]
    assert tuple(cell["source"] for cell in cells) == CELLS
    for path, token, _ in desk.kaggle.seen:
        assert not (path.startswith("/upload") and token), "the store was shown the token"
    assert TOKEN not in "".join(first["text"])


REFUSALS = {
    "nothing told": (["push"], "say which bundle, with bundle=FOLDER"),
    "no bundle": (["push", "bundle=."], ".: not a bundle; paddy bundle run=RUN makes one"),
    "another name": (["push", "bundle=BUNDLE", "name=a b"], "name=a b: must have 6 to 50 letters"),
    "no competition": (["push", "bundle=BUNDLE", "competition=a/b"], "competition=a/b: not a name"),
    "no network": (["bundle", "run=nowhere"], "nowhere: no such checkpoint"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_cannot_be_bundled_or_sent_is_one_sentence(
    desk: Desk, bundle: Path, refusal: str
) -> None:
    words, said = REFUSALS[refusal]
    one_sentence(desk.type(*(word.replace("BUNDLE", str(bundle)) for word in words)), said)


@pytest.mark.parametrize(
    ("refused", "statuses", "said"),
    [
        ({"upload": [(400, "")] * 9}, [], "the upload failed (HTTP 400), and nothing was sent"),
        ({}, ["FAILED"], "Kaggle could not unpack it; push it again"),
        ({}, ["BLOBS_RECEIVED"], "is uploaded, and Kaggle is not done with it after 0 seconds"),
        ({"SaveKernel": [(403, "verify your phone")]}, [], "Kaggle refuses (verify your phone)"),
    ],
)
def test_a_failed_push_is_one_sentence(
    desk: Desk,
    bundle: Path,
    refused: dict[str, list[tuple[int, str]]],
    statuses: list[str],
    said: str,
) -> None:
    desk.kaggle.refusals = refused
    desk.kaggle.statuses = statuses or ["READY"]
    words = ["push", f"bundle={bundle}", f"competition={NAME}", "wait=0"]
    one_sentence(desk.type(*words), said)


def test_a_passing_failure_is_waited_out(desk: Desk, bundle: Path) -> None:
    desk.kaggle.refusals = {
        "StartBlobUpload": [(503, ""), (0, "")],
        "upload": [(502, "")],
        "GetDatasetStatus": [(429, "")],
    }
    result = desk.type("push", f"bundle={bundle}")
    assert result.returncode == 0, result.stderr
    (tokens,) = desk.kaggle.data_sets["somebody/stripes0-bundle"]  # the folder of its pictures
    there = {token.rsplit("/", 1)[-1]: desk.kaggle.uploads[token] for token in tokens}
    assert there == {path.name: path.read_bytes() for path in (bundle / "data").iterdir()}


def test_the_cells_name_nothing_of_this_machine() -> None:
    assert sys.prefix not in "".join(CELLS) and str(ROOT) not in "".join(CELLS)
