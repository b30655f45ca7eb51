"""One file -> one uint8 picture of a fixed shape, on a worker: open, turn upright, RGB, resize.

Every picture, in training and in predicting, comes through ``open_presized``, so that both see
the same pixels.
"""

import warnings
from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from paddy_lightning.config import PadMode, Resize, Size
from paddy_lightning.errors import UserError

CENTRE = (0.5, 0.5)
THIN = 4  # how much larger than a picture a box may be before the picture is made smaller first
SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap height and width


class Box(NamedTuple):
    """The part of a picture that fills the presized shape, in source pixels.

    A box may reach outside of the picture: that part is padded.
    """

    left: int
    top: int
    width: int
    height: int


def open_presized(
    path: Path,
    size: Size,
    resize: Resize = Resize.squish,
    pad_mode: PadMode = PadMode.zeros,
    place: tuple[float, float] = CENTRE,
    draft: bool = True,
) -> np.ndarray:
    """Open a picture and bring it to ``size``.

    Args:
        path: Of the file.
        size: ``(height, width)`` of the result.
        resize: squish (aspect changes), pad (borders are added) or crop (a part is kept).
        pad_mode: For pad: zeros (black), border or reflection.
        place: For crop: where the box lies, ``(down, right)``, from 0 to 1 each.
        draft: Let libjpeg decode at 1/2, 1/4 or 1/8 where the box stays large enough.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        UserError: The file cannot be read as a picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _open_rgb(path, size, resize, draft)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        why = "no picture format that is known" if unknown else error
        raise UserError(f"{path}: cannot be read as a picture ({why})") from error
    return np.array(fit(image, size, resize, pad_mode, place))


def fit(
    image: Image.Image,
    size: Size,
    resize: Resize,
    pad_mode: PadMode = PadMode.zeros,
    place: tuple[float, float] = CENTRE,
) -> Image.Image:
    """Bring an open picture to ``size``: cut or pad to the box, then one antialiased resize."""
    box = resize_box((image.height, image.width), size, resize, place)
    if resize is Resize.pad:
        if box.width * box.height > THIN * image.width * image.height:
            # Long and thin: the box around it could be larger than memory.
            image.thumbnail((THIN * size[1], THIN * size[0]))
            box = resize_box((image.height, image.width), size, resize)
        image, box = _pad(image, box, pad_mode), Box(0, 0, box.width, box.height)
    edges = (box.left, box.top, box.left + box.width, box.top + box.height)
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=edges)


def resize_box(
    source: Size, size: Size, resize: Resize, place: tuple[float, float] = CENTRE
) -> Box:
    """The box of the source that becomes the whole result; fastai's ``Resize``, to the pixel.

    Args:
        source: ``(height, width)`` of the picture.
        size: ``(height, width)`` of the result.
        resize: squish takes all; crop the largest box of the result's aspect inside of the
            picture; pad the smallest one around it.
        place: Where the slack goes, ``(down, right)``, from 0 to 1 each.
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
    top, left = int(place[0] * (source[0] - height)), int(place[1] * (source[1] - width))
    return Box(left, top, width, height)


def _open_rgb(path: Path, size: Size, resize: Resize, draft: bool) -> Image.Image:
    with Image.open(path) as image:
        if draft and image.format == "JPEG":
            _decode_smaller(image, size, resize)
        return to_rgb(ImageOps.exif_transpose(image))


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
    sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
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
