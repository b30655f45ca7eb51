"""One file -> one uint8 picture of a fixed shape, on a worker: open, turn upright, RGB, resize.

Every picture, in training and in predicting, comes through ``open_whole`` and ``cut``, so that both
see the same pixels. What lies between the two does not depend on chance, and can be kept.
"""

from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
from PIL import ExifTags, Image

from paddy_lightning.choices import PadMode, Resize, Size
from paddy_lightning.data.formats import opened

CENTRE = (0.5, 0.5)
LONG = 8  # results that a picture to be cut may reach to either side of its middle
THIN = 4  # how much larger than a picture a box may be before the picture is made smaller first
TURNS = {  # what undoes an EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap height and width


class Box(NamedTuple):
    """The part of a picture that fills the presized shape, in source pixels.

    A box may reach outside of the picture: that part is padded.
    """

    left: int
    top: int
    width: int
    height: int


class Presize(NamedTuple):
    """How files become pictures of one shape.

    Attributes:
        size: ``(height, width)`` of the result.
        resize: squish (aspect changes), pad (borders are added) or crop (a part is kept).
        pad_mode: For pad: zeros (black), border or reflection.
        draft: Let libjpeg decode at 1/2, 1/4 or 1/8 where the result needs no more.
    """

    size: Size = (480, 480)
    resize: Resize = Resize.squish
    pad_mode: PadMode = PadMode.zeros
    draft: bool = True


def open_presized(path: Path, presize: Presize, place: tuple[float, float] = CENTRE) -> np.ndarray:
    """Open a picture and bring it to one shape.

    Args:
        path: Of the file.
        presize: The shape, and how.
        place: For crop: where the part lies, ``(down, right)``, from 0 to 1 each.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        UserError: The file cannot be read as a picture.
    """
    return cut(open_whole(path, presize), presize.size, place)


def open_whole(path: Path, presize: Presize) -> np.ndarray:
    """Open a picture and bring it to scale; a crop can still be cut from it anywhere.

    Returns:
        uint8 [height, width, 3], RGB: of the presized shape, or larger for crop.

    Raises:
        UserError: The file cannot be read as a picture.
    """
    with opened(path) as image:
        if presize.draft and image.format == "JPEG":
            _decode_smaller(image, presize.size, presize.resize)
        upright = upright_rgb(image)
    return np.array(fit(upright, presize))


def cut(whole: np.ndarray, size: Size, place: tuple[float, float] = CENTRE) -> np.ndarray:
    """The part of a picture, uint8 [height, width, 3], that starts ``place`` of the way across."""
    top, left = (int(share * (whole.shape[side] - size[side])) for side, share in enumerate(place))
    return whole[top : top + size[0], left : left + size[1]]


def fit(image: Image.Image, presize: Presize) -> Image.Image:
    """Bring an open picture to scale: pad it to the box, then one antialiased resize."""
    size, resize, pad_mode, _ = presize
    box = resize_box((image.height, image.width), size, resize)
    if resize is Resize.pad:
        if box.width * box.height > THIN * image.width * image.height:
            # Long and thin: the box around it could be larger than memory.
            image.thumbnail((THIN * size[1], THIN * size[0]))
            box = resize_box((image.height, image.width), size, resize)
        image, box = _pad(image, box, pad_mode), Box(0, 0, box.width, box.height)
    rows, top, bottom = _reach(box.top, box.height, image.height, size[0])
    columns, left, right = _reach(box.left, box.width, image.width, size[1])
    return image.resize((columns, rows), Image.Resampling.BILINEAR, box=(left, top, right, bottom))


def _reach(start: int, length: int, source: int, size: int) -> tuple[int, float, float]:
    """Along one side: a box, and as many pixels of the result as fit beside it, both ways alike.

    Whole pixels of the result, so that its middle is the box, resized.

    Returns:
        The pixels of the result, and where they start and end in the source.
    """
    unit = length / size
    beside = min(int(min(start, source - start - length) / unit), LONG * size)
    end = start + length + beside * unit
    return size + 2 * beside, max(0.0, start - beside * unit), min(float(source), end)


def resize_box(source: Size, size: Size, resize: Resize) -> Box:
    """The box about the middle that becomes the result; fastai's ``Resize``, to the pixel.

    Args:
        source: ``(height, width)`` of the picture.
        size: ``(height, width)`` of the result.
        resize: squish takes all; crop the largest box of the result's aspect inside of the
            picture; pad the smallest one around it.
    """
    # Integers throughout: in floats, the side that should stay whole can lose a pixel.
    wider = source[1] * size[0] >= source[0] * size[1]
    match resize:
        case Resize.squish:
            return Box(0, 0, source[1], source[0])
        case Resize.crop:
            keep_width = not wider
        case Resize.pad:
            keep_width = wider
        case _:
            assert_never(resize)
    if keep_width:
        height, width = max(1, source[1] * size[0] // size[1]), source[1]
    else:
        height, width = source[0], max(1, source[0] * size[1] // size[0])
    top, left = int((source[0] - height) / 2), int((source[1] - width) / 2)  # towards zero
    return Box(left, top, width, height)


def upright_rgb(image: Image.Image) -> Image.Image:
    """An open picture, decoded, turned as its EXIF orientation says, as RGB."""
    image.load()  # of some formats, EXIF comes after the pixels
    turn = TURNS.get(orientation(image))
    return to_rgb(image if turn is None else image.transpose(turn))


def orientation(image: Image.Image) -> int:
    """EXIF's, from 1 to 8; 1, upright, where there is none or none that makes sense."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
        return int(found) if found in TURNS else 1
    except MemoryError:
        raise
    except Exception:  # EXIF is broken more often than the pixels beside it
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: deep greys scaled to 8 bits, what is transparent laid on white.

    PIL alone would cut deep greys off at 255, and show the colours hidden under transparency.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        unit = 255 if values.max() <= 1 else 1
        image = Image.fromarray((values * unit).clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        image = Image.alpha_composite(white, picture)
    return image.convert("RGB")


def _decode_smaller(image: Image.Image, size: Size, resize: Resize) -> None:
    """Ask libjpeg for no more pixels than the result needs; must come before they are loaded."""
    sideways = orientation(image) in SIDEWAYS
    height, width = (image.width, image.height) if sideways else (image.height, image.width)
    box = resize_box((height, width), size, resize)
    least = (-(-width * size[1] // box.width), -(-height * size[0] // box.height))
    image.draft("RGB", least[::-1] if sideways else least)


def _pad(image: Image.Image, box: Box, pad_mode: PadMode) -> Image.Image:
    """Add what the box has outside of the picture, on all four sides."""
    if pad_mode is PadMode.zeros:
        canvas = Image.new("RGB", (box.width, box.height))
        canvas.paste(image, (-box.left, -box.top))
        return canvas
    right, bottom = box.left + box.width - image.width, box.top + box.height - image.height
    around = ((-box.top, bottom), (-box.left, right), (0, 0))
    pixels = np.asarray(image)
    if pad_mode is PadMode.border:
        return Image.fromarray(np.pad(pixels, around, mode="edge"))
    return Image.fromarray(np.pad(pixels, around, mode="reflect"))
