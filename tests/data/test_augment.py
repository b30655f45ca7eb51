import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from paddy_lightning.data.augment import (
    Augment,
    crop,
    flip,
    kornia_augmentations,
    lighting,
    perspective,
    rotate,
    zoom,
)
from paddy_lightning.data.warp import warp
from paddy_lightning.errors import UserError

SIDES = st.integers(8, 60)
U = torch.rand(500, 64, generator=torch.Generator().manual_seed(0))


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def plain_augment(size: tuple[int, int]) -> Augment:
    return Augment(size, mean=[0.0] * 3, std=[1.0] * 3)


@given(SIDES, SIDES, SIDES, SIDES)
def test_the_identity_is_interpolate(height: int, width: int, out_h: int, out_w: int) -> None:
    images = pictures(2, height, width)
    ours = warp(images, torch.eye(3).expand(2, 3, 3), (out_h, out_w))
    # Whole blocks that fit are averaged first; the rest is a half-pixel resize of that.
    block = (max(1, height // out_h), max(1, width // out_w))
    if height % block[0] or width % block[1]:
        return
    small = F.avg_pool2d(images.permute(0, 3, 1, 2).double(), block)
    theirs = F.interpolate(small, (out_h, out_w), mode="bilinear", align_corners=False)
    assert (ours - theirs).abs().max() < 255 * 1e-5


@given(SIDES, SIDES, st.integers(1, 13), st.integers(1, 13))
def test_bytes_are_averaged_as_floats_are(
    height: int, width: int, block_y: int, block_x: int
) -> None:
    images = 255 - pictures(1, height * block_y, width * block_x) // 8  # sums are large
    size, same = (height, width), torch.eye(3)[None]
    assert torch.equal(warp(images, same, size), warp(images.float(), same, size))


@given(st.integers(0, 2**31), SIDES, SIDES, SIDES, SIDES)
def test_any_product_is_sampled_as_in_float64(
    seed: int, height: int, width: int, out_h: int, out_w: int
) -> None:
    out_h, out_w = max(out_h, height // 2 + 1), max(out_w, width // 2 + 1)  # no averaging first
    images = pictures(1, height, width, seed)
    u = torch.rand(1, 40, generator=torch.Generator().manual_seed(seed))
    matrix = (
        flip(u[:, :1])
        @ rotate(u[:, 1:3], width / height)
        @ zoom(u[:, 3:7])
        @ perspective(u[:, 7:11])
        @ crop(u[:, 11:33], 0.5)
    )
    expected = sample_slowly(images[0].numpy(), matrix[0].double().numpy(), out_h, out_w)
    found = warp(images, matrix, (out_h, out_w))[0].permute(1, 2, 0).numpy()
    # A coordinate's float32 error, about 1e-5 of a pixel, times a step of 255.
    assert np.abs(found - expected).max() < 0.05


@given(SIDES, SIDES, SIDES, SIDES, st.floats(0.75, 1))
def test_crops_that_are_not_small_are_sampled_as_the_whole_picture(
    height: int, width: int, out_h: int, out_w: int, min_scale: float
) -> None:
    images, matrices = pictures(2, height, width), crop(U[:2, :22], min_scale)
    whole = warp(images, matrices, (out_h, out_w))
    assert torch.equal(warp(images, matrices, (out_h, out_w), min_scale), whole)


@pytest.mark.parametrize(("source", "out"), [(480, 128), (480, 192), (480, 224), (192, 128)])
@pytest.mark.parametrize("min_scale", [0.75, 0.5, 0.35, 0.08])
def test_small_crops_are_sharp_and_large_ones_do_not_alias(
    source: int, out: int, min_scale: float
) -> None:
    """Neighbours differ as much as after one antialiased resize of the same part."""
    picture = drawn(source)
    for share in {1.0, 0.75, 0.5, 0.35, 0.2, 0.08, min_scale}:
        if share < min_scale:
            continue
        side = math.sqrt(share)
        box = source * np.array([1 - side, 1 - side, 1 + side, 1 + side]) / 2
        expected = picture.resize((out, out), Image.Resampling.BILINEAR, box=tuple(box))
        matrix = torch.diag(torch.tensor([side, side, 1.0]))[None]
        image = torch.from_numpy(np.array(picture))[None]
        found = warp(image, matrix, (out, out), min_scale)[0].permute(1, 2, 0).numpy()
        ratio = mean_step(found) / mean_step(np.asarray(expected, np.float64))
        assert 0.85 < ratio < 1.35, (share, ratio)  # of the whole picture, 192 to 128: 1.3


def drawn(side: int) -> Image.Image:
    """A picture with something of every size, down to a pixel."""
    y, x = np.mgrid[:side, :side]
    waves = 60 * np.sin(x / 3.1) + 40 * np.sin((x + y) / 7.7) + 60 * ((x // 5 + y // 9) % 2)
    grey = 100 + waves + np.random.default_rng(0).normal(0, 25, (side, side))
    return Image.fromarray(np.stack([grey] * 3, axis=-1).clip(0, 255).astype(np.uint8))


def mean_step(picture: np.ndarray) -> float:
    """Between neighbours, of a picture [height, width, 3]."""
    return float(np.abs(np.diff(picture, axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean())


def sample_slowly(image: np.ndarray, matrix: np.ndarray, out_h: int, out_w: int) -> np.ndarray:
    """Bilinear sampling, reflecting at the edges, one output pixel after the other, in float64."""
    height, width = image.shape[:2]
    result = np.zeros((out_h, out_w, 3))
    for row in range(out_h):
        for column in range(out_w):
            point = np.array([(2 * column + 1) / out_w - 1, (2 * row + 1) / out_h - 1, 1])
            x, y, depth = matrix @ point
            x = reflect(((x / depth + 1) * width - 1) / 2, width)
            y = reflect(((y / depth + 1) * height - 1) / 2, height)
            left, top = min(int(x), width - 1), min(int(y), height - 1)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            fx, fy = x - left, y - top
            above = (1 - fx) * image[top, left] + fx * image[top, right]
            below = (1 - fx) * image[bottom, left] + fx * image[bottom, right]
            result[row, column] = (1 - fy) * above + fy * below
    return result


def reflect(x: float, size: int) -> float:
    """A pixel coordinate mirrored at the outer edges -.5 and size - .5, then kept inside."""
    x = (x + 0.5) % (2 * size)
    return float(np.clip(min(x, 2 * size - x) - 0.5, 0, size - 1))


@given(st.permutations(range(6)), st.integers(1, 6), st.integers(0, 9), st.integers(0, 5))
def test_a_picture_is_augmented_alike_in_any_batch(
    order: list[int], batch: int, epoch: int, view: int
) -> None:
    images, index = pictures(6, 20, 16), torch.arange(6) * 11
    augment = plain_augment((12, 12))
    expected = augment.random(images, index, epoch, view)
    shuffled = torch.tensor(order)
    found = torch.cat(
        [augment.random(images[rows], index[rows], epoch, view) for rows in shuffled.split(batch)]
    )
    # To rounding: a vectorised power may differ from a scalar one in the last bit.
    assert (found - expected[shuffled]).abs().max() < 1e-4


def test_every_part_of_the_key_changes_the_augmentation() -> None:
    images, index = pictures(1, 20, 20), torch.tensor([3])
    base = plain_augment((16, 16)).random(images, index, 0, 0)
    other_seed = Augment((16, 16), [0.0] * 3, [1.0] * 3, seed=7)
    others = [
        other_seed.random(images, index, 0, 0),
        plain_augment((16, 16)).random(images, index + 1, 0, 0),
        plain_augment((16, 16)).random(images, index, 1, 0),
        plain_augment((16, 16)).random(images, index, 0, 1),
    ]
    assert all(not torch.equal(base, other) for other in others)


def test_validation_sees_the_whole_picture() -> None:
    """fastai centre-crops a square from a padded 480x360 and never sees the ends."""
    images = torch.zeros(1, 480, 360, 3, dtype=torch.uint8)
    images[:, :20], images[:, -20:] = 255, 255
    seen = plain_augment((256, 192)).plain(images)[0, 0]
    assert seen[:8].mean() > 0.9 and seen[-8:].mean() > 0.9 and seen[20:-20].max() == 0


@pytest.mark.parametrize("side", [11, 21, 29])
def test_the_last_row_counts_where_blocks_do_not_fit(side: int) -> None:
    image = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    image[:, -1], image[:, :, -1] = 255, 255
    seen = plain_augment((5, 5)).plain(image)[0, 0]
    assert (seen[-1] > 0.1).all() and (seen[:, -1] > 0.1).all() and seen[:4, :4].max() < 0.05


def test_grey_stays_grey_whatever_the_contrast() -> None:
    grey = torch.full((500, 8, 8, 3), 128, dtype=torch.uint8)
    seen = plain_augment((8, 8)).random(grey, torch.arange(500), epoch=0)[:, 0, 4, 4]
    shift = seen - 128 / 255  # brightness alone, of up to a tenth, in three of four pictures
    assert shift.abs().max() <= 0.1 + 0.001 and shift.min() < -0.09 and shift.max() > 0.09
    assert 0.15 < (shift.abs() < 0.001).float().mean() < 0.35


def test_normalisation_is_part_of_the_one_colour_map() -> None:
    images = pictures(4, 16, 16)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    found = Augment((16, 16), mean, std).plain(images)
    unit = images.permute(0, 3, 1, 2) / 255
    expected = (unit - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert (found - expected).abs().max() < 1e-5


def test_the_ranges_are_fastais() -> None:
    angles = rotate(U[:, :2], 1.0)[:, 0, 1].asin().rad2deg()
    assert 9 < angles.abs().max() <= 10.001
    assert 0.2 < (angles == 0).float().mean() < 0.3
    zooms = 1 / zoom(U[:, :4])[:, 0, 0]
    assert zooms.min() == 1 and 1.09 < zooms.max() <= 1.1001
    area = torch.linalg.det(crop(U[:, :22], 0.75)[:, :2, :2])
    assert area.min() >= 0.75 - 1e-6 and area.max() <= 1 + 1e-6
    contrast, brightness = lighting(U[:, :4])
    assert contrast.min() >= 0.8 - 1e-6 and contrast.max() <= 1.25 + 1e-6
    assert 0.09 < brightness.abs().max() <= 0.1 + 1e-6
    assert 0.4 < (flip(U[:, :1])[:, 0, 0] < 0).float().mean() < 0.6


def test_a_crop_stays_inside() -> None:
    corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1]]).T
    reached = crop(U[:, :22], 0.3) @ corners
    assert reached[:, :2].abs().max() <= 1 + 1e-5


def test_perspective_moves_the_corners_as_fastais_warp() -> None:
    tilt = torch.tensor([[0.0, 0.9, 0.9, 0.0]])  # the first axis by .16, the second not
    t = 0.2 * (2 * 0.9 - 1)
    corners = torch.tensor([[-1.0, -1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, 1]]).T
    moved = (perspective(tilt) @ corners)[0]
    expected = torch.tensor([[-1, -1 - t], [-1, 1 + t], [1, -1 + t], [1, 1 - t]]).T
    assert (moved[:2] / moved[2] - expected).abs().max() < 1e-6


def test_a_rotation_is_rigid_in_a_wide_picture() -> None:
    turn = rotate(torch.tensor([[0.0, 1.0]]), aspect=2.0)[0, :2, :2]
    to_pixels = torch.diag(torch.tensor([200.0, 100.0]))
    rigid = to_pixels @ turn @ torch.linalg.inv(to_pixels)
    assert (rigid @ rigid.T - torch.eye(2)).abs().max() < 1e-6


def test_kornias_augmentations_come_by_name_and_are_reproducible() -> None:
    extra = kornia_augmentations([{"RandomErasing": {"p": 1.0}}])
    augment = Augment((32, 32), [0.0] * 3, [1.0] * 3, extra=extra)
    images, index = pictures(4, 32, 32), torch.arange(4)
    torch.manual_seed(0)
    once = augment.random(images, index, 0)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)  # the run's own random numbers are untouched
    assert torch.equal(once, augment.random(images, index, 0))
    assert not torch.equal(once, plain_augment((32, 32)).random(images, index, 0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"RandomErase": {}}, "kornia.augmentation has no augmentation 'RandomErase'"),
        ({"__builtins__": {}}, "no augmentation '__builtins__'"),
        ({"RandomErasing": {"q": 1}}, "unexpected keyword"),
    ],
)
def test_what_kornia_has_not_is_refused(spec: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kornia_augmentations([spec])
