"""What the tests share: the reference values, a small data set, and a way to run the scripts."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the tests share the cores by process
os.environ["HF_HUB_OFFLINE"] = "1"

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pytest
import torch
from desk import CHUNK, NAME, Desk
from hypothesis import settings
from kaggle_server import Kaggle, serve
from PIL import Image
from small import small

from benchmarks.page import DESK, PHONE, found, window
from paddy_lightning.data.cache import default_place
from paddy_lightning.data.room import KEPT_FREE
from paddy_lightning.page import onnxruntime_web

ROOT = Path(__file__).parents[1]
PADDY = (sys.executable, "-m", "paddy_lightning")
settings.register_profile("same", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("fresh", deadline=None, max_examples=200)  # make slow
settings.load_profile(os.environ.get("PADDY_EXAMPLES", "same"))
forks.install()
SHARED = Path(os.environ.get("PADDY_SHARED", ROOT.parent / "shared"))

KEPT = default_place() / onnxruntime_web.PACKAGE.removesuffix(".tgz")  # the user's, not the tests'


def pytest_sessionstart() -> None:
    """Say at once what dozens of tests would fail for."""
    place = Path(tempfile.gettempdir())
    disk = shutil.disk_usage(place)
    if disk.free < KEPT_FREE * disk.total + 2**30:
        pytest.exit(
            f"{place}: {disk.free / 2**30:.0f} of {disk.total / 2**30:.0f} GiB are free; caches,"
            f" and so the tests, want {KEPT_FREE:.0%} and a GiB",
            returncode=1,
        )


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Presized pictures go to a folder of the session, not to the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Once each; on a GPU by ``make gpu`` alone."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return str(request.param)


@pytest.fixture
def golden() -> Path:
    """The folder of values measured from fastai."""
    return ROOT / "tests" / "golden"


@pytest.fixture
def shared_weights() -> Path:
    """The folder of pretrained weights."""
    if not (SHARED / "weights").is_dir():
        pytest.skip("pretrained weights: PADDY_SHARED/weights is not on this machine")
    return SHARED / "weights"


@pytest.fixture
def photos() -> Path:
    """The folder of real photos."""
    if not (SHARED / "photos").is_dir():
        pytest.skip("real photos: PADDY_SHARED/photos is not on this machine")
    return SHARED / "photos"


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kaggle's layout in small: three classes of striped pictures, 20 each, and 8 to predict."""
    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for label, angle in (("across", (0, 1)), ("down", (1, 0)), ("slanted", (1, 1))):
        for number in range(20):
            _draw_stripes(root / "train_images" / label / f"{label}{number:02}.jpg", angle, rng)
    for number in range(8):
        _draw_stripes(root / "test_images" / f"2000{number:02}.jpg", (1, 0), rng)
    ids = [f"2000{number:02}.jpg" for number in (5, 3, 0, 1, 2, 7, 6, 4)]
    rows = "".join(f"{image_id},\n" for image_id in ids)
    (root / "sample_submission.csv").write_text("image_id,label\n" + rows)
    return root


@pytest.fixture(scope="session")
def ort_web() -> Path:
    """onnxruntime for browsers, in the tests' own cache."""
    if not all((KEPT / name).is_file() for name in onnxruntime_web.FILES):
        pytest.skip(f"onnxruntime-web: not in {KEPT}; make install fetches it")
    return Path(shutil.copytree(KEPT, default_place() / KEPT.name))


@pytest.fixture(scope="module", params=[PHONE, DESK], ids=["phone", "desk"])
def driver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A real browser, as large as a phone and as a desk."""
    if not found():
        pytest.skip("pages in a browser: chromium and chromedriver are not on this machine")
    with window(request.param) as browser:
        yield browser


@pytest.fixture(scope="session")
def run_with_page(stripes: Path, ort_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run with its page, whose JPEGs Python decodes whole, as browsers do."""
    from paddy_lightning.page.page import write_page
    from paddy_lightning.training.train import train

    folder = tmp_path_factory.mktemp("paged") / "run"
    train(small(stripes, arch="resnet10t", resize="crop", draft=False), folder)
    write_page(folder, "Which stripes?")
    return folder


@pytest.fixture(scope="session")
def workplace(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Kaggle's layout in ``data``, and one folder a class in ``PICTURES``."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "data").symlink_to(stripes)
    (folder / "PICTURES").symlink_to(stripes / "train_images")
    return folder


def _draw_stripes(path: Path, angle: tuple[int, int], rng: np.random.Generator) -> None:
    y, x = np.mgrid[:80, :60]
    wave = np.sin((x * angle[0] + y * angle[1]) / rng.uniform(2, 4) + rng.uniform(0, 6))
    tint = rng.uniform(40, 110, 3)
    picture = 128 + wave[..., None] * tint + rng.normal(0, 10, (80, 60, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=90)


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type a command of ``paddy``, or start a script of the project, in an empty folder."""

    def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        name, *arguments = map(str, words)
        start = [sys.executable, str(ROOT / name)] if name.endswith(".py") else [*PADDY, name]
        return subprocess.run(
            [*start, *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def desk(tmp_path: Path, competition: bytes) -> Iterator[Desk]:
    kaggle = Kaggle(archive=competition)
    server = serve(kaggle)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    yield Desk(tmp_path / "work", kaggle)
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def competition(stripes: Path) -> bytes:
    """The competition's zip: the striped pictures in Kaggle's layout, and some megabytes more."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(stripes.rglob("*.*")):
            archive.write(file, file.relative_to(stripes).as_posix())
        rows = (f"{file.name},{file.parent.name}" for file in stripes.glob("train_images/*/*"))
        archive.writestr("more.bin", np.random.default_rng(0).bytes(4 * CHUNK))
        archive.writestr("train.csv", "image_id,label\n" + "\n".join(sorted(rows)) + "\n")
    return packed.getvalue()


@pytest.fixture(scope="session")
def finished(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has predicted the test pictures."""
    from small import small

    from paddy_lightning.command_configs import PredictConfig
    from paddy_lightning.prediction.predict import run_predict
    from paddy_lightning.training.train import train

    folder = tmp_path_factory.mktemp("outputs") / "run"
    train(small(stripes, epochs=1), folder)
    run_predict(PredictConfig(str(folder)))
    return folder


@pytest.fixture(scope="session")
def exported(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of padded pictures that was exported; not to be changed."""
    from small import small

    from paddy_lightning.command_configs import ExportConfig
    from paddy_lightning.export.export import run_export
    from paddy_lightning.training.train import train

    folder = tmp_path_factory.mktemp("exported") / "run"
    train(small(stripes, arch="resnet10t", resize="pad", epochs=5), folder)
    run_export(ExportConfig(str(folder)))
    return folder


@pytest.fixture
def run(finished: Path, desk: Desk, stripes: Path) -> Path:
    """The same, of the files that lie where it is downloaded to them."""
    place = desk.folder / "data" / NAME
    place.parent.mkdir()
    place.symlink_to(stripes)
    run = shutil.copytree(finished, desk.folder / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(stripes), str(place)))
    return run
