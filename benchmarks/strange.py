"""Pictures of no leaf, drawn or cut from photographs; and own ones on a worse day."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from sklearn.datasets import load_sample_images

HEIGHT, WIDTH = 320, 240
COUNT = 60  # of each kind
Draw = Callable[[np.random.Generator], Image.Image]


def noise(numbers: np.random.Generator) -> Image.Image:
    """Every pixel by itself."""
    return Image.fromarray(numbers.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def blurred(numbers: np.random.Generator) -> Image.Image:
    """Soft spots of all colours."""
    spots = np.clip(128 + 60 * numbers.normal(size=(HEIGHT // 16, WIDTH // 16, 3)), 0, 255)
    return Image.fromarray(spots.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def flat(numbers: np.random.Generator) -> Image.Image:
    """One colour."""
    return Image.new("RGB", (WIDTH, HEIGHT), _colour(numbers, 0, 256))


def text(numbers: np.random.Generator) -> Image.Image:
    """A page of letters."""
    page = Image.new("RGB", (WIDTH, HEIGHT), _colour(numbers, 225, 256))
    draw, size = ImageDraw.Draw(page), int(numbers.integers(10, 22))
    font, ink = ImageFont.load_default(size=size), _colour(numbers, 0, 80)
    for y in range(8, HEIGHT - size, size + 4):
        letters = [chr(97 + int(n)) if n < 26 else " " for n in numbers.integers(0, 31, 60)]
        draw.text((10, y), "".join(letters), fill=ink, font=font)
    return page


def sky(numbers: np.random.Generator) -> Image.Image:
    """Blue, lighter towards the horizon, with clouds: noise of four scales."""
    top = np.array([60, 120, 200]) + numbers.integers(-30, 30, 3)
    low = np.array([190, 215, 240]) + numbers.integers(-20, 15, 3)
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    clouds = np.zeros((HEIGHT, WIDTH))
    for cells in (4, 8, 16, 32):
        coarse = Image.fromarray(numbers.normal(size=(cells, cells)).astype(np.float32))
        fine = coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        clouds += np.asarray(fine) / cells**0.7
    cover = np.clip((clouds - clouds.mean()) / clouds.std() - 0.2, 0, 1.5)[..., None] / 1.5
    blue = (1 - down) * top + down * low
    return Image.fromarray((blue * (1 - cover) + 245 * cover).clip(0, 255).astype(np.uint8))


def photo(numbers: np.random.Generator) -> Image.Image:
    """A crop of scikit-learn's flower or temple."""
    whole = Image.fromarray(load_sample_images().images[int(numbers.integers(2))])
    height = int(numbers.uniform(0.3, 0.9) * whole.height)
    width = height * WIDTH // HEIGHT
    left = int(numbers.integers(0, whole.width - width + 1))
    upper = int(numbers.integers(0, whole.height - height + 1))
    crop = whole.crop((left, upper, left + width, upper + height))
    return crop.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


KINDS: tuple[Draw, ...] = (noise, blurred, flat, text, sky, photo)


def draw_all(folder: Path) -> dict[str, Path]:
    """``COUNT`` of each kind, always the same; the folder of each."""
    for number, kind in enumerate(KINDS):
        (folder / kind.__name__).mkdir(parents=True)
        for index in range(COUNT):
            picture = kind(np.random.default_rng([number, index]))
            picture.save(folder / kind.__name__ / f"{index}.jpg", quality=92)
    return {kind.__name__: folder / kind.__name__ for kind in KINDS}


def dim(picture: Image.Image) -> Image.Image:
    """Half as bright."""
    return ImageEnhance.Brightness(picture).enhance(0.5)


def unsharp(picture: Image.Image) -> Image.Image:
    """As out of focus."""
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 150))


def turned(picture: Image.Image) -> Image.Image:
    """By a right angle."""
    return picture.transpose(Image.Transpose.ROTATE_90)


CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (dim, unsharp, turned)


def change_all(root: Path, files: list[str], folder: Path) -> dict[str, Path]:
    """Pictures as a worse day would have them; the folder of each change."""
    for change in CHANGES:
        (folder / change.__name__).mkdir(parents=True)
        for index, file in enumerate(files):
            with Image.open(root / file) as picture:
                changed = change(picture.convert("RGB"))
            changed.save(folder / change.__name__ / f"{index}.jpg", quality=92)
    return {change.__name__: folder / change.__name__ for change in CHANGES}


def _colour(numbers: np.random.Generator, low: int, high: int) -> tuple[int, ...]:
    return tuple(numbers.integers(low, high, 3).tolist())
