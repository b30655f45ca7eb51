"""Drawn rice leaves, healthy and with nine diseases, 640 high and 480 wide.

What tells the classes apart is the shape and place of the symptoms; light, white balance and
background vary too much for colour to do it.
"""

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HEIGHT, WIDTH = 640, 480
Point = tuple[float, float]
Colour = tuple[int, int, int] | tuple[int, int, int, int]

STRAW, BROWN, GREY = (214, 190, 120), (98, 52, 24), (196, 190, 172)


class Leaf(NamedTuple):
    """A blade along a parabola.

    Attributes:
        base: Where it grows from, (x, y) in pixels.
        angle: Of its direction, in radians from straight up, to the right.
        length: In pixels.
        width: Of its broadest part, in pixels.
        bend: How far the tip leaves the straight line, as a share of the length.
    """

    base: Point
    angle: float
    length: float
    width: float
    bend: float

    def at(self, along: float, across: float) -> Point:
        """The pixel at a share of the length (0 base, 1 tip) and of the half width (-1 to 1)."""
        side = self.bend * along**2 * self.length + across * self.width / 2 * taper(along)
        up = along * self.length
        sin, cos = np.sin(self.angle), np.cos(self.angle)
        return self.base[0] + up * sin + side * cos, self.base[1] - up * cos + side * sin

    def strip(
        self, start: float, end: float, low: float, high: float, points: int = 12
    ) -> list[Point]:
        """The outline of the part between two shares of the length and of the half width."""
        steps = np.linspace(start, end, points)
        return [self.at(s, low) for s in steps] + [self.at(s, high) for s in steps[::-1]]


class Scene(NamedTuple):
    """What a symptom is drawn on."""

    draw: ImageDraw.ImageDraw
    leaves: list[Leaf]
    rng: np.random.Generator


def taper(along: float) -> float:
    """Width of a blade as a share of its broadest part."""
    return float(np.clip(4 * along + 0.35, 0, 1) * np.sqrt(max(0.0, 1 - along**3)))


def blast(scene: Scene) -> None:
    """Spindles with a grey centre and a brown rim, along the blade."""
    for leaf in scene.leaves:
        for _ in range(scene.rng.integers(4, 8)):
            along, across = scene.rng.uniform(0.15, 0.85), scene.rng.uniform(-0.5, 0.5)
            long, wide = scene.rng.uniform(35, 55) / leaf.length, scene.rng.uniform(0.28, 0.42)
            for size, colour in ((1.0, BROWN), (0.6, GREY)):
                tips = [leaf.at(along - long * size, across), leaf.at(along, across - wide * size)]
                tips += [leaf.at(along + long * size, across), leaf.at(along, across + wide * size)]
                scene.draw.polygon(tips, fill=colour)


def brown_spot(scene: Scene) -> None:
    """Many round dark dots, each in a yellow halo."""
    for leaf in scene.leaves:
        for _ in range(scene.rng.integers(22, 36)):
            place = leaf.at(scene.rng.uniform(0.08, 0.92), scene.rng.uniform(-0.8, 0.8))
            radius = scene.rng.uniform(6, 10)
            disc(scene.draw, place, radius * 1.7, (206, 184, 60, 190))
            disc(scene.draw, place, radius, (70, 38, 18))


def hispa(scene: Scene) -> None:
    """Long pale scrapes side by side, and small dark beetles."""
    for leaf in scene.leaves:
        for _ in range(scene.rng.integers(9, 15)):
            start, across = scene.rng.uniform(0.05, 0.7), scene.rng.uniform(-0.75, 0.75)
            streak(
                scene.draw, leaf, start, scene.rng.uniform(0.12, 0.3), across, 7, (236, 238, 222)
            )
        for _ in range(scene.rng.integers(1, 4)):
            x, y = leaf.at(scene.rng.uniform(0.2, 0.8), scene.rng.uniform(-0.5, 0.5))
            scene.draw.ellipse((x - 11, y - 16, x + 11, y + 16), fill=(16, 20, 44))
            scene.draw.ellipse((x - 5, y - 9, x, y - 3), fill=(120, 130, 190))


def bacterial_leaf_blight(scene: Scene) -> None:
    """Straw-coloured bands with a wavy edge along both margins, down from the tip."""
    for leaf in scene.leaves:
        start, waves = scene.rng.uniform(0.1, 0.4), scene.rng.uniform(14, 24)
        for side in (-1, 1):
            steps, phase = np.linspace(start, 0.995, 40), scene.rng.uniform(0, 6)
            depth = 0.42 + 0.18 * np.sin(steps * waves + phase) - 0.3 * (steps - start)
            inner = [leaf.at(s, side * d) for s, d in zip(steps, depth, strict=True)]
            margin = [leaf.at(s, side) for s in steps[::-1]]
            scene.draw.polygon(inner + margin, fill=(226, 212, 160))
            scene.draw.line(inner, fill=(170, 130, 60), width=4)


def bacterial_leaf_streak(scene: Scene) -> None:
    """Thin dark amber dashes between the veins."""
    for leaf in scene.leaves:
        for _ in range(scene.rng.integers(26, 42)):
            start, across = scene.rng.uniform(0.05, 0.85), scene.rng.integers(-4, 5) / 5
            length = scene.rng.uniform(0.06, 0.13)
            streak(scene.draw, leaf, start, length, across, 6, (104, 54, 10))


def downy_mildew(scene: Scene) -> None:
    """Pale blotches without an edge, dusted with white."""
    for leaf in scene.leaves:
        for _ in range(scene.rng.integers(6, 11)):
            x, y = leaf.at(scene.rng.uniform(0.1, 0.9), scene.rng.uniform(-0.5, 0.5))
            size = scene.rng.uniform(18, 34)
            for shrink in (1.0, 0.8, 0.6):
                disc(scene.draw, (x, y), size * shrink, (230, 232, 180, 95))
            for dx, dy in scene.rng.normal(0, size * 0.6, (26, 2)):
                disc(scene.draw, (x + dx, y + dy), 2.6, (250, 250, 246))


def tungro(scene: Scene) -> None:
    """Blades that turn orange from the tip, mottled between the veins."""
    for leaf in scene.leaves:
        start = scene.rng.uniform(0.15, 0.35)
        for step in np.linspace(start, 0.97, 14):
            share = (step - start) / (1 - start)
            orange = (236, 150, 24, int(90 + 150 * share))
            scene.draw.polygon(leaf.strip(step, min(1, step + 0.065), -1, 1, 3), fill=orange)
        for _ in range(30):
            along, across = scene.rng.uniform(start, 0.9), scene.rng.uniform(-0.8, 0.8)
            streak(scene.draw, leaf, along, 0.05, across, 5, (250, 214, 90))


def dead_heart(scene: Scene) -> None:
    """The central shoot dry, bent over and hanging, among green leaves."""
    root = scene.leaves[0].base
    side = scene.rng.choice([-1, 1])
    height, reach = scene.rng.uniform(300, 420), scene.rng.uniform(110, 190)
    steps = np.linspace(0, 1, 30)
    x = root[0] + side * reach * np.clip(steps * 1.5 - 0.5, 0, 1) ** 1.3
    y = root[1] - height * np.sin(steps * 2.5) ** 0.9
    path = list(zip(x.tolist(), y.tolist(), strict=True))
    for width, colour in ((34, (150, 112, 58)), (22, STRAW), (6, (168, 134, 74))):
        scene.draw.line(path, fill=colour, width=width, joint="curve")


def bacterial_panicle_blight(scene: Scene) -> None:
    """An upright ear of grains, many of them bleached or brown."""
    ear(scene, droop=0.05, colours=((236, 226, 196), (112, 66, 30), (208, 188, 150)))


def normal(scene: Scene) -> None:
    """Nothing, or a healthy ear that hangs by its weight: an ear alone gives nothing away."""
    if scene.rng.random() < 0.3:
        ear(scene, droop=0.6, colours=((166, 176, 62), (186, 180, 70), (146, 166, 58)))


SYMPTOMS: dict[str, Callable[[Scene], None]] = {
    symptom.__name__: symptom
    for symptom in (
        *(bacterial_leaf_blight, bacterial_leaf_streak, bacterial_panicle_blight, blast),
        *(brown_spot, dead_heart, downy_mildew, hispa, normal, tungro),
    )
}
CLASS_NAMES: tuple[str, ...] = tuple(SYMPTOMS)


def draw_leaf(label: str, seed: int) -> Image.Image:
    """One picture, from its class and seed alone.

    Returns:
        RGB, 640 high and 480 wide.
    """
    rng = np.random.Generator(np.random.PCG64([CLASS_NAMES.index(label), seed]))
    image = background(rng)
    as_plant = label in ("dead_heart", "tungro") or rng.random() < 0.3
    leaves = plant(rng) if as_plant else close_up(rng)
    draw = ImageDraw.Draw(image, "RGBA")
    hue = rng.uniform(0.2, 0.34)
    for leaf in leaves:
        blade(draw, leaf, hue + rng.uniform(-0.02, 0.02), rng)
    SYMPTOMS[label](Scene(draw, leaves, rng))
    for _ in range(rng.integers(0, 14)):  # drops and dust
        place = (rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT))
        shade = int(rng.choice([30, 245]))
        disc(draw, place, rng.uniform(1.5, 4), (shade, shade, shade, 150))
    return photograph(image, rng)


def background(rng: np.random.Generator) -> Image.Image:
    """Field, soil, water or sky, out of focus, with blurred leaves in it."""
    tones = ((70, 110, 50), (120, 95, 70), (110, 125, 135), (170, 190, 205), (190, 150, 125))
    tone = np.array(tones[rng.integers(len(tones))])
    light, tint = rng.normal(0, 26, (8, 6, 1)), rng.normal(0, 7, (8, 6, 3))
    spots = np.clip(tone + light + tint, 0, 255).astype(np.uint8)
    small = Image.fromarray(spots).resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(small)
    for _ in range(rng.integers(2, 8)):
        x, lean, wide = rng.uniform(0, WIDTH / 4), rng.uniform(-60, 60), rng.uniform(3, 14)
        draw.line(
            (x, HEIGHT / 4, x + lean, 0), fill=green(rng.uniform(0.18, 0.36), rng), width=int(wide)
        )
    return small.filter(ImageFilter.GaussianBlur(3)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BILINEAR
    )


def close_up(rng: np.random.Generator) -> list[Leaf]:
    """One or two broad blades across the picture."""
    leaves = []
    for _ in range(rng.integers(1, 3)):
        base = (rng.uniform(110, 370), rng.uniform(640, 720))
        width, bend = rng.uniform(100, 165), rng.uniform(-0.12, 0.12)
        leaves.append(Leaf(base, rng.uniform(-0.4, 0.4), rng.uniform(600, 740), width, bend))
    return leaves


def plant(rng: np.random.Generator) -> list[Leaf]:
    """A fan of narrower blades from one foot."""
    foot, count = (rng.uniform(190, 290), rng.uniform(610, 690)), rng.integers(4, 7)
    angles = np.linspace(-0.75, 0.75, count) + rng.normal(0, 0.08, count)
    return [
        Leaf(foot, angle, rng.uniform(380, 560), rng.uniform(46, 72), 0.25 * angle)
        for angle in angles
    ]


def blade(draw: ImageDraw.ImageDraw, leaf: Leaf, hue: float, rng: np.random.Generator) -> None:
    """A healthy leaf: body, lighter midrib, veins."""
    body = green(hue, rng)
    draw.polygon(leaf.strip(0, 1, -1, 1, 24), fill=body)
    draw.polygon(leaf.strip(0, 1, 0.1, 1, 24), fill=(0, 0, 0, 28))
    for across in (-0.6, -0.3, 0.3, 0.6):
        streak(draw, leaf, 0.02, 0.9, across, 1, (255, 255, 255, 60))
    streak(draw, leaf, 0, 0.96, 0, 4, (225, 240, 190, 150))


def ear(scene: Scene, droop: float, colours: tuple[Colour, ...]) -> None:
    """A stalk with grains on both sides."""
    x, rng = scene.rng.uniform(170, 310), scene.rng
    side, length = rng.choice([-1, 1]), rng.uniform(400, 520)
    stalk = Leaf((x, 650), 0, length, 90, 0)
    path = [
        (px + side * droop * 330 * s**2.5, py + droop * 260 * s**3)
        for s in np.linspace(0.1, 1, 46)
        for px, py in [stalk.at(s, 0)]
    ]
    scene.draw.line(path, fill=(150, 160, 80), width=6)
    for number, (px, py) in enumerate(path[12:]):
        colour = colours[rng.integers(len(colours))]
        gx = px + (1 if number % 2 else -1) * rng.uniform(8, 34)
        gy = py + rng.uniform(-8, 8)
        scene.draw.ellipse((gx - 10, gy - 17, gx + 10, gy + 17), fill=colour, outline=(90, 70, 40))


def photograph(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, white balance, a shadow and grain: what colour alone says is lost here."""
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.4))), np.float32)
    gains = np.exp(rng.normal(0, 0.2, 3) + rng.normal(0, 0.22)).astype(np.float32)
    x = np.linspace(-1, 1, WIDTH, dtype=np.float32) * rng.uniform(-0.25, 0.25)
    y = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None] * rng.uniform(-0.25, 0.25)
    grain = rng.normal(0, 5, (HEIGHT // 2, WIDTH // 2)).astype(np.float32).repeat(2, 0).repeat(2, 1)
    lit = pixels * gains * (1 + x + y)[..., None] + grain[..., None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def green(hue: float, rng: np.random.Generator) -> tuple[int, int, int]:
    """A leaf's colour, from yellowish (.18) to bluish green (.36)."""
    r, g, b = colorsys.hsv_to_rgb(hue, rng.uniform(0.45, 0.75), rng.uniform(0.4, 0.75))
    return int(r * 255), int(g * 255), int(b * 255)


def disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, colour: Colour) -> None:
    """A filled circle."""
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def streak(
    draw: ImageDraw.ImageDraw,
    leaf: Leaf,
    start: float,
    length: float,
    across: float,
    width: int,
    colour: Colour,
) -> None:
    """A line along the blade."""
    steps = np.linspace(start, min(start + length, 0.97), 8)
    draw.line([leaf.at(s, across) for s in steps], fill=colour, width=width, joint="curve")
