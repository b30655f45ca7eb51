"""Which files are read as pictures, and that nothing in a file ends more than its own reading."""

import os
import random
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import zoo
from PIL import Image, ImageFile

from paddy_lightning.choices import DataConfig, Source
from paddy_lightning.data import formats
from paddy_lightning.data.broken import find_broken
from paddy_lightning.data.listing import list_images
from paddy_lightning.data.presize import Presize, open_presized
from paddy_lightning.data.table import describe, open_data
from paddy_lightning.errors import UserError
from paddy_lightning.insight.survey import header_of, read_headers

SAVED = {
    **{".gif": "GIF", ".jfif": "JPEG", ".jpe": "JPEG", ".avif": "AVIF", ".jp2": "JPEG2000"},
    **{".tga": "TGA", ".ppm": "PPM", ".qoi": "QOI", ".dib": "DIB", ".apng": "PNG", ".TIFF": "TIFF"},
}
NONSENSE = (
    b"\0\0\2" + bytes(9) + struct.pack("<HHBB", 4, 4, 24, 0) + bytes(48),  # a TGA, if called so
    zoo.encoded(zoo.rgb(), "EPS"),  # would be handed to Ghostscript
    zoo.encoded(zoo.rgb().quantize(), "BLP"),
)


def test_pictures_of_every_suffix_are_found_and_read(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for suffix, kind in SAVED.items():
            (tmp_path / label / f"x{suffix}").write_bytes(zoo.encoded(zoo.rgb(), kind))
    data = open_data(DataConfig(Source.folder, str(tmp_path)))
    assert len(data.train) == 2 * len(SAVED)
    assert "left out" not in describe(data)
    for file in data.train["file"]:
        found = open_presized(tmp_path / file, Presize((48, 72)))
        assert np.abs(found[24, [5, 60]].astype(int) - [zoo.RED, zoo.GREEN]).max() < 12, file


@pytest.mark.parametrize("content", NONSENSE)
def test_what_decoders_of_photos_do_not_know_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.jpg: .* \(no picture format that is known\)"):
        open_presized(tmp_path / "x.jpg", Presize((8, 8)))


@pytest.mark.parametrize("plugin", ["pillow_heif", "pi_heif"])
def test_heic_is_read_where_a_plugin_is_installed(
    tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the plugin: pictures by a signature of its own."""

    class Heic(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode = (8, 8), "RGB"

        def load(self) -> None:
            self.im = Image.new("RGB", (8, 8), "red").im

    def register() -> None:
        Image.register_open("HEIF", Heic, lambda prefix: prefix[4:12] == b"ftypheic")
        Image.register_extensions("HEIF", [".heic", ".heif"])

    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    assert list_images(tmp_path) == []
    stand_in = ModuleType(plugin)
    vars(stand_in)["register_heif_opener"] = register
    for name, module in (("pillow_heif", None), ("pi_heif", None), (plugin, stand_in)):
        monkeypatch.setitem(sys.modules, name, module)
    for table in ("EXTENSION", "OPEN"):
        monkeypatch.setattr(Image, table, dict(getattr(Image, table)))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    try:
        formats.formats.cache_clear()
        formats.suffixes.cache_clear()
        assert list_images(tmp_path) == ["x.heic"]
        assert open_presized(tmp_path / "x.heic", Presize((4, 4)))[2, 2].tolist() == [255, 0, 0]
    finally:
        formats.formats.cache_clear()
        formats.suffixes.cache_clear()


def test_a_decoder_may_raise_what_it_likes(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(zoo.damaged_avif())
    with pytest.raises(RuntimeError), Image.open(tmp_path / "x.jpg") as image:
        image.load()
    with pytest.raises(UserError, match=r"x\.jpg: cannot be read as a picture \(Failed to dec"):
        open_presized(tmp_path / "x.jpg", Presize((8, 8)))
    assert len(find_broken(tmp_path, pd.Series(["x.jpg"]), num_workers=1)) == 1


@pytest.mark.filterwarnings("ignore")  # PIL's, of what it puts right
def test_no_damage_to_a_file_escapes(tmp_path: Path) -> None:
    chance = random.Random(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "JPEG2000", "PPM", "QOI", "TGA", "BMP")
    wholes = [zoo.encoded(zoo.rgb(20, 30), kind, exif=exif) for kind in kinds]
    wholes += [zoo.encoded(zoo.rgb().quantize(), "BLP")]
    for number in range(800):
        content = bytearray(wholes[number % len(wholes)])
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(min(len(content), chance.choice([24, 300, 10**6])))] = (
                chance.choice([0, 1, 255, chance.randrange(256)])
            )
        (tmp_path / "x.tga").write_bytes(content)
        try:
            open_presized(tmp_path / "x.tga", Presize((8, 8)))
        except UserError as error:
            assert "x.tga: cannot be read as a picture (" in str(error)
        header_of(str(tmp_path / "x.tga"))


def test_want_of_memory_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.jpg").write_bytes(zoo.JPEG)

    def fail(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError):
        open_presized(tmp_path / "x.jpg", Presize((8, 8)))


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.jpg"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(UserError, match=r"x\.jpg: cannot be read as a picture \(not a file\)"):
        open_presized(path, Presize((8, 8)))
    assert read_headers(pd.Series([str(path)]), 1)["bytes"].isna().all()
