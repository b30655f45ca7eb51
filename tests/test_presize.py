import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paddy_lightning.config import PadMode, Resize
from paddy_lightning.errors import UserError
from paddy_lightning.presize import Box, fit, open_presized, resize_box

SIDES = st.integers(1, 700)


def ramp(width: int, height: int) -> Image.Image:
    """Red says where across, green where down, as in the reference's pictures."""
    red = np.arange(width) * 255 // max(1, width - 1)
    green = np.arange(height) * 255 // max(1, height - 1)
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[..., 0] = red
    picture[..., 1] = green[:, None]
    return Image.fromarray(picture)


def test_boxes_and_pixels_are_fastais(golden: Path) -> None:
    cases = json.loads((golden / "resize_geometry.json").read_text())["cases"]
    assert len(cases) == 16
    for case in cases:
        (width, height), (out_width, out_height) = case["source_wh"], case["out_wh"]
        resize = Resize(case["resize"]["method"])
        box = resize_box((height, width), (out_height, out_width), resize)
        assert box == Box(*case["crop_box_tl"], *case["crop_box_wh"]), case["spec"]
        result = fit(ramp(width, height), (out_height, out_width), resize)
        assert result.size == (out_width, out_height)
        for probe in case["probes"]:
            pixel = np.array(result.getpixel(tuple(probe["out_xy"])), int)
            assert np.abs(pixel - probe["rgb"]).max() <= 1, (case["spec"], probe)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(Resize), st.sampled_from(PadMode))
def test_any_shape_becomes_the_asked_one(
    height: int, width: int, out_height: int, out_width: int, resize: Resize, pad_mode: PadMode
) -> None:
    result = fit(Image.new("RGB", (width, height)), (out_height, out_width), resize, pad_mode)
    assert (result.height, result.width, result.mode) == (out_height, out_width, "RGB")


@given(SIDES, SIDES, SIDES, SIDES, st.floats(0, 1), st.floats(0, 1))
def test_a_crop_lies_inside_and_a_pad_around(
    height: int, width: int, out_height: int, out_width: int, down: float, right: float
) -> None:
    inside = resize_box((height, width), (out_height, out_width), Resize.crop, (down, right))
    assert 0 <= inside.left <= inside.left + inside.width <= width
    assert 0 <= inside.top <= inside.top + inside.height <= height
    around = resize_box((height, width), (out_height, out_width), Resize.pad)
    assert around.left <= 0 and around.left + around.width >= width
    assert around.top <= 0 and around.top + around.height >= height


@pytest.mark.parametrize(
    ("pad_mode", "corner"), [("zeros", 0), ("border", 200), ("reflection", 200)]
)
def test_pad_fills_the_outside(pad_mode: str, corner: int) -> None:
    image = Image.new("RGB", (40, 20), (200, 200, 200))
    result = np.array(fit(image, (40, 40), Resize.pad, PadMode(pad_mode)))
    assert result[0, 0, 0] == corner
    assert result[20, 20, 0] == 200


@pytest.mark.parametrize("resize", Resize)
def test_draft_decodes_less_and_shows_the_same(tmp_path: Path, resize: Resize) -> None:
    ramp(1600, 1200).save(tmp_path / "large.jpg", quality=95)
    size = (128, 96)
    fast = open_presized(tmp_path / "large.jpg", size, resize, draft=True)
    exact = open_presized(tmp_path / "large.jpg", size, resize, draft=False)
    assert fast.shape == exact.shape == (128, 96, 3)
    assert np.abs(fast.astype(int) - exact).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int) -> None:
    upright = ramp(320, 640)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    seen = open_presized(tmp_path / "photo.jpg", (128, 64))
    expected = np.array(fit(upright, (128, 64), Resize.squish))
    assert np.abs(seen.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    ramp(30, 20).convert(mode).save(path)
    assert open_presized(path, (16, 16)).shape == (16, 16, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.jpg: cannot be read as a picture"):
        open_presized(path, (16, 16))


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    ramp(640, 480).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.jpg: cannot be read as a picture"):
        open_presized(tmp_path / "cut.jpg", (128, 128))
