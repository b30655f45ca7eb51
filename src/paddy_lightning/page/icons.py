"""The page's icons: a spotted leaf, drawn."""

from PIL import Image, ImageDraw

from paddy_lightning.data.leaves import Leaf

GREEN, LIGHT, SPOT = (11, 74, 34), (196, 226, 140), (122, 51, 0)
CANVAS = 1024  # pixels a side, to be made smaller
LEAVES = (  # within the middle four fifths, which any platform's mask shows
    Leaf((430, 800), -0.35, 560, 190, -0.1),
    Leaf((520, 830), 0.45, 620, 230, 0.15),
)
SPOTS = ((0.3, 0.2, 46), (0.5, -0.3, 34), (0.66, 0.25, 40))  # along, across, radius


def icon(side: int) -> Image.Image:
    """A square icon of so many pixels a side."""
    image = Image.new("RGB", (CANVAS, CANVAS), GREEN)
    draw = ImageDraw.Draw(image)
    for leaf in LEAVES:
        draw.polygon(leaf.strip(0, 1, -1, 1, points=60), fill=LIGHT)
        draw.line([leaf.at(along / 20, 0) for along in range(18)], fill=GREEN, width=14)
    for along, across, radius in SPOTS:
        x, y = LEAVES[1].at(along, across)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=SPOT)
    return image.resize((side, side), Image.Resampling.LANCZOS)
