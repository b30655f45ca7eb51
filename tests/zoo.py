"""Odd and broken pictures, drawn: the left third red, the rest green, unless said otherwise."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

SIZE = (60, 90)  # height, width
RED, GREEN = (220, 30, 30), (30, 160, 30)


def rgb(height: int = SIZE[0], width: int = SIZE[1]) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : -(-width // 3)] = RED
    pixels[:, -(-width // 3) :] = (30, 160, 30)
    return Image.fromarray(pixels)


def grey() -> np.ndarray:
    return np.repeat(np.linspace(0, 1, SIZE[1])[None], SIZE[0], axis=0)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    """Stored sideways or mirrored, with the EXIF orientation that undoes it."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(rgb().transpose(undo[orientation]), "JPEG", quality=95, exif=exif)


def transparent(mode: str) -> Image.Image:
    image = rgb().convert("RGBA")
    alpha = np.full(SIZE, 255, np.uint8)
    alpha[:, 30:] = 0  # the green is hidden: what shows there is white
    image.putalpha(Image.fromarray(alpha))
    return image.convert(mode)


def palette_with_transparency() -> bytes:
    image = rgb().quantize(4)
    return encoded(image, "PNG", transparency=image.getpixel((80, 30)))


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", SIZE[::-1], colour) for colour in ("blue", "white")]
    return encoded(rgb(), kind, save_all=True, append_images=frames, duration=100)


def deep_grey() -> bytes:
    return encoded(Image.fromarray((grey() * 65535).astype(np.uint16)), "PNG")


def bomb() -> bytes:
    """A header that promises 60,000 x 60,000 pixels."""
    data = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def flipped_bits() -> bytes:
    data = bytearray(encoded(rgb(), "PNG"))
    middle = data.index(b"IDAT") + 12
    data[middle : middle + 8] = bytes(255 - byte for byte in data[middle : middle + 8])
    return bytes(data)


def damaged_avif() -> bytes:
    """Sound in its header, and not in its pixels; its decoder raises what others do not."""
    data = encoded(rgb(), "AVIF")
    pixels = data.index(b"mdat") + 16
    return data[:pixels] + bytes(len(data) - pixels)


def big_text() -> bytes:
    about = PngImagePlugin.PngInfo()
    about.add_text("comment", "x" * 10_000)
    return encoded(rgb(), "PNG", pnginfo=about)


JPEG = encoded(rgb(), "JPEG", quality=95)
PNG = encoded(rgb(), "PNG")

SOUND: dict[str, Callable[[], bytes]] = {
    "plain.jpg": lambda: JPEG,
    "upper.JPEG": lambda: JPEG,
    "plain.png": lambda: PNG,
    "plain.webp": lambda: encoded(rgb(), "WEBP", lossless=True),
    "plain.bmp": lambda: encoded(rgb(), "BMP"),
    "plain.tif": lambda: encoded(rgb(), "TIFF"),
    "plain.tiff": lambda: encoded(rgb(), "TIFF", compression="tiff_lzw"),
    **{f"exif{number}.jpg": partial(turned, number) for number in range(2, 9)},
    "exif_nonsense.jpg": lambda: encoded(rgb(), "JPEG", quality=95, exif=b"Exif\0\0nonsense"),
    "exif_nonsense.png": lambda: encoded(rgb(), "PNG", exif=b"Exif\0\0nonsense"),
    "exif_nonsense.webp": lambda: encoded(rgb(), "WEBP", lossless=True, exif=b"nonsense"),
    "progressive.jpg": lambda: encoded(rgb(), "JPEG", quality=95, progressive=True),
    "cmyk.jpg": lambda: encoded(rgb().convert("CMYK"), "JPEG", quality=95),
    "palette.png": lambda: encoded(rgb().quantize(4), "PNG"),
    "opaque_alpha.png": lambda: encoded(rgb().convert("RGBA"), "PNG"),
    "animated.gif.png": lambda: animated("PNG"),
    "animated.webp": lambda: animated("WEBP"),
    "gif_called.jpg": lambda: encoded(rgb(), "GIF"),
    "png_called.jpg": lambda: PNG,
    "comment.png": big_text,
    "trailing_bytes.jpg": lambda: JPEG + b"\0" * 1000,
    "name with spaces, comma.jpg": lambda: JPEG,
    "Blätter_稲.jpg": lambda: JPEG,
    "-dash.jpg": lambda: JPEG,
    "line\nbreak.jpg": lambda: JPEG,
}
OTHERWISE: dict[str, Callable[[], bytes]] = {  # sound, but not red and green
    "grey.jpg": lambda: encoded(rgb().convert("L"), "JPEG"),
    "grey_alpha.png": lambda: encoded(transparent("LA"), "PNG"),
    "deep_grey.png": deep_grey,
    "deep_grey.tif": lambda: encoded(Image.fromarray((grey() * 65535).astype(np.uint16)), "TIFF"),
    "float.tif": lambda: encoded(Image.fromarray(grey().astype(np.float32)), "TIFF"),
    "one_bit.png": lambda: encoded(rgb().convert("1"), "PNG"),
    "alpha.png": lambda: encoded(transparent("RGBA"), "PNG"),
    "palette_alpha.png": palette_with_transparency,
    "one_pixel.png": lambda: encoded(rgb(1, 1), "PNG"),
    "one_pixel_high.png": lambda: encoded(rgb(1, 90), "PNG"),
    "one_pixel_wide.jpg": lambda: encoded(rgb(90, 1), "JPEG"),
    "very_long.png": lambda: encoded(rgb(2, 60_000), "PNG"),
}
BROKEN: dict[str, Callable[[], bytes]] = {
    "empty.jpg": lambda: b"",
    "text.jpg": lambda: b"this is not a picture",
    "html.png": lambda: b"<html>404</html>",
    "truncated.jpg": lambda: JPEG[: len(JPEG) // 2],
    "truncated.png": lambda: PNG[: len(PNG) // 2],
    "header_only.jpg": lambda: JPEG[:20],
    "header_only.png": lambda: PNG[:33],
    "flipped_bits.png": flipped_bits,
    "zeros.bmp": lambda: bytes(1000),
    "truncated.webp": lambda: encoded(rgb(), "WEBP", lossless=True)[:40],
    "truncated.tif": lambda: encoded(rgb(), "TIFF")[:200],
    "bomb.png": bomb,
    "avif_called.jpg": damaged_avif,
}


def draw(folder: Path, animals: dict[str, Callable[[], bytes]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, animal in animals.items():
        (folder / name).write_bytes(animal())
