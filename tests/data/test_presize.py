import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from paddy_lightning.choices import PadMode, Resize, Size
from paddy_lightning.data.presize import Box, Presize, cut, fit, open_presized, resize_box
from paddy_lightning.errors import UserError

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
        size = (out_height, out_width)
        whole = np.array(fit(ramp(width, height), Presize(size, resize)))
        result = Image.fromarray(cut(whole, size))
        assert result.size == (out_width, out_height)
        for probe in case["probes"]:
            pixel = np.array(result.getpixel(tuple(probe["out_xy"])), int)
            assert np.abs(pixel - probe["rgb"]).max() <= 1, (case["spec"], probe)


@given(
    st.tuples(SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.sampled_from(Resize),
    st.sampled_from(PadMode),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_shape_becomes_the_asked_one(
    source: Size, size: Size, resize: Resize, pad_mode: PadMode, place: tuple[float, float]
) -> None:
    whole = fit(Image.new("RGB", source), Presize(size, resize, pad_mode))
    assert whole.mode == "RGB"
    assert cut(np.array(whole), size, place).shape == (*size, 3)
    assert resize is Resize.crop or (whole.height, whole.width) == size


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_crop_lies_inside_and_a_pad_around(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    inside = resize_box((height, width), (out_height, out_width), Resize.crop)
    assert 0 <= inside.left <= inside.left + inside.width <= width
    assert 0 <= inside.top <= inside.top + inside.height <= height
    around = resize_box((height, width), (out_height, out_width), Resize.pad)
    assert around.left <= 0 and around.left + around.width >= width
    assert around.top <= 0 and around.top + around.height >= height


@given(SIDES, SIDES, SIDES, SIDES)
def test_what_a_crop_is_cut_from_shows_nearly_all_and_its_middle_is_the_box(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    """No picture of these shapes is longer than a crop may reach; all but a pixel is in reach."""
    size = (out_height, out_width)
    assume(max(height * out_width, width * out_height) < 8 * min(width, height) * min(size))
    whole = fit(ramp(width, height), Presize(size, Resize.crop))
    box = resize_box((height, width), size, Resize.crop)
    for reach, shape, side, length in (
        (whole.height, out_height, height, box.height),
        (whole.width, out_width, width, box.width),
    ):
        assert reach * length / shape > side - 2 - 2 * length / shape
    edges = (box.left, box.top, box.left + box.width, box.top + box.height)
    middle = ramp(width, height).resize(size[::-1], Image.Resampling.BILINEAR, box=edges)
    assert np.abs(cut(np.array(whole), size).astype(int) - np.array(middle)).max() <= 1


@pytest.mark.parametrize(
    ("pad_mode", "corner"), [("zeros", 0), ("border", 200), ("reflection", 200)]
)
def test_pad_fills_the_outside(pad_mode: str, corner: int) -> None:
    image = Image.new("RGB", (40, 20), (200, 200, 200))
    result = np.array(fit(image, Presize((40, 40), Resize.pad, PadMode(pad_mode))))
    assert result[0, 0, 0] == corner
    assert result[20, 20, 0] == 200


@pytest.mark.parametrize("resize", Resize)
def test_draft_decodes_less_and_shows_the_same(tmp_path: Path, resize: Resize) -> None:
    ramp(1600, 1200).save(tmp_path / "large.jpg", quality=95)
    size = (128, 96)
    fast = open_presized(tmp_path / "large.jpg", Presize(size, resize, draft=True))
    exact = open_presized(tmp_path / "large.jpg", Presize(size, resize, draft=False))
    assert fast.shape == exact.shape == (128, 96, 3)
    assert np.abs(fast.astype(int) - exact).mean() < 2


def test_draft_of_a_sideways_photo_keeps_what_the_result_needs(tmp_path: Path) -> None:
    """All of its width, though a fraction of its height would do."""
    upright = np.zeros((1600, 400, 3), np.uint8)
    upright[:, ::2] = 255
    exif = Image.Exif()
    exif[274] = 6
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "sideways.jpg", exif=exif, quality=95, subsampling=0)
    seen = open_presized(tmp_path / "sideways.jpg", Presize((200, 400), draft=True))
    assert np.abs(seen.astype(int) - upright[:200]).mean() < 20


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
    seen = open_presized(tmp_path / "photo.jpg", Presize((128, 64)))
    expected = np.array(fit(upright, Presize((128, 64))))
    assert np.abs(seen.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    ramp(30, 20).convert(mode).save(path)
    assert open_presized(path, Presize((16, 16))).shape == (16, 16, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.jpg: cannot be read as a picture"):
        open_presized(path, Presize((16, 16)))


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    ramp(640, 480).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.jpg: cannot be read as a picture"):
        open_presized(tmp_path / "cut.jpg", Presize((128, 128)))
