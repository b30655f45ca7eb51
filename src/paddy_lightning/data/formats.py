"""Picture files: which are read, by what suffixes they are found, and how they are opened.

Read are raster formats that decoders take apart by themselves. PIL knows more: its EPS starts
Ghostscript, a program of its own, on what a file contains. A file's content says which format it
is, not its name.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from paddy_lightning.errors import UserError

# The commonest first: they are tried in this order.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"),
    *("AVIF", "JPEG2000", "PPM", "QOI", "DIB"),
)
UNSIGNED = ("TGA",)  # no signature: other files would pass for one, so their suffix must say so
PLUGINS = ("pillow_heif", "pi_heif")  # either brings HEIF (.heic), which PIL has not
VARIANTS = {"MPO": "JPEG", "DIB": "BMP"}  # by the suffixes of


@cache
def suffixes() -> dict[str, str]:
    """Which format a suffix (lower case, with its dot) promises, for all that are read."""
    known = (*formats(), *UNSIGNED)
    registered = Image.registered_extensions()
    return {
        suffix: VARIANTS.get(kind, kind) for suffix, kind in registered.items() if kind in known
    }


@cache
def formats() -> tuple[str, ...]:
    """PIL's names of the formats that are told by their content."""
    for plugin in PLUGINS:
        try:
            import_module(plugin).register_heif_opener()
        except ImportError:
            continue
        return (*FORMATS, "HEIF")
    return FORMATS


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file, open; whatever its content does to a decoder in the block is told by name.

    Raises:
        UserError: The file cannot be read as a picture.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (once a picture: no Path)
            raise OSError("not a file")  # a named pipe would be waited for
        by_suffix = suffixes().get(os.path.splitext(path)[1].lower())  # noqa: PTH122
        known = (*formats(), by_suffix) if by_suffix in UNSIGNED else formats()
        with Image.open(path, formats=known) as image:
            # PIL only warns of these, and warnings cannot be made errors in one thread alone.
            largest = Image.MAX_IMAGE_PIXELS
            if largest is not None and image.width * image.height > largest:
                size = f"{image.width}x{image.height}"
                raise ValueError(f"{size} pixels, perhaps a decompression bomb")
            yield image
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(path, "no picture format that is known") from error
    except Exception as error:  # decoders raise what they like
        raise _unreadable(path, " ".join(str(error).split()) or type(error).__name__) from error


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(f"{path}: cannot be read as a picture ({why})")
