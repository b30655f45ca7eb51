"""Mixed pictures and soft targets: what is drawn, and that picture and target say the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from test_datamodule import look
from torch import Tensor

from paddy_lightning.data.pictures import Batch
from paddy_lightning.data.random_numbers import uniform
from paddy_lightning.data.soft_targets import (
    QUANTILES,
    SoftBatch,
    SoftTargets,
    beta_quantiles,
    boxes,
    share_at,
)

ALPHAS = st.floats(0.02, 50)
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def marked(count: int, size: tuple[int, int] = (9, 7), start: int = 0) -> Batch:
    """Pictures of one value each, their place in the batch, which is their class as well."""
    place = torch.arange(count)
    image = place.float()[:, None, None, None].expand(-1, 3, *size).contiguous()
    return Batch(image, place, place + start)


@given(ALPHAS, st.integers(0, 2**31))
def test_shares_are_drawn_from_the_beta_distribution(alpha: float, seed: int) -> None:
    """As many as would tell one that is off by a hundredth."""
    u = uniform(seed, 0, torch.arange(20_000), 0, 1)[:, 0]
    shares = share_at(u, beta_quantiles(alpha)).numpy()
    places = np.linspace(0.001, 0.999, 200)
    below = np.searchsorted(np.sort(shares), places) / len(shares)
    assert np.abs(below - beta.cdf(places, alpha, alpha)).max() < 0.02
    assert shares.min() >= 0 and shares.max() <= 1


@given(ALPHAS)
def test_a_share_is_between_the_quantiles_next_to_it(alpha: float) -> None:
    u = torch.rand(500, generator=generator(0))
    shares = share_at(u, beta_quantiles(alpha)).numpy()
    place = u.numpy().astype(float) * QUANTILES
    low, high = (beta.ppf(end(place) / QUANTILES, alpha, alpha) for end in (np.floor, np.ceil))
    assert (low - 1e-6 <= shares).all() and (shares <= high + 1e-6).all()


@pytest.mark.parametrize("alpha", [1e-300, 1e-6, 1e6])
def test_odd_alphas_give_shares_all_the_same(alpha: float) -> None:
    quantiles = beta_quantiles(alpha)
    assert (quantiles.diff() >= -1e-6).all() and quantiles[0] == 0 and quantiles[-1] == 1


@given(st.integers(1, 9), SHAPES, st.integers(0, 99))
def test_a_box_tells_the_share_of_its_pixels(count: int, size: tuple[int, int], epoch: int) -> None:
    """The target has exactly what the picture shows of each of the two."""
    batch = marked(count, size)
    mixed = SoftTargets(count, cutmix=1.0)(batch, epoch)
    for place, (image, target) in enumerate(zip(mixed.image, mixed.target, strict=True)):
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
        shown = torch.bincount(image[0].flatten().long(), minlength=count) / image[0].numel()
        torch.testing.assert_close(target, shown, rtol=0, atol=1e-6)
        partners = {place, count - 1 - place}
        assert set(image.unique().long().tolist()) <= partners


@given(st.integers(1, 9), st.integers(0, 99))
def test_a_blend_is_of_the_shares_of_its_target(count: int, epoch: int) -> None:
    batch = marked(count)
    mixed = SoftTargets(count, mixup=0.4)(batch, epoch)
    expected = mixed.target @ torch.arange(count).float()
    found = mixed.image.flatten(1)
    torch.testing.assert_close(found, expected[:, None].expand_as(found), rtol=1e-5, atol=1e-5)


@given(ALPHAS, ALPHAS, st.integers(1, 9), st.integers(0, 99))
def test_targets_are_shares(mixup: float, cutmix: float, count: int, epoch: int) -> None:
    mixed = SoftTargets(count, mixup, cutmix)(marked(count), epoch)
    assert mixed.target.dtype == torch.float32 and mixed.target.shape == (count, count)
    assert (mixed.target >= 0).all()
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(count))
    assert torch.equal(mixed.label, torch.arange(count))
    if count % 2:  # its own partner
        assert (mixed.image[count // 2] == count // 2).all()
        assert mixed.target[count // 2, count // 2] == 1


def test_a_box_has_its_share_and_lies_anywhere_in_the_picture() -> None:
    """On average, but for whole pixels; every pixel is as likely as its mirror image."""
    share, place = (torch.rand(20_000, n, generator=generator(n)) for n in (1, 2))
    found = boxes(share[:, 0], place, (24, 32))
    assert (found.mean((1, 2)) - share[:, 0]).abs().max() < 0.08
    assert float((found.mean((1, 2)) - share[:, 0]).mean()) == pytest.approx(0, abs=2e-3)
    heat = found.mean(0)
    for mirrored in (heat.flip(0), heat.flip(1)):
        torch.testing.assert_close(heat, mirrored, rtol=0, atol=0.02)
    for row in found[:500]:  # a box, and not two
        whole = row.any(1)[:, None] & row.any(0)[None]
        assert torch.equal(row.bool(), whole)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_of_both_each_picture_draws_one() -> None:
    """Half and half; and the shares are those it would have drawn of that one alone."""
    batch = marked(1000, (8, 8))
    both, cut, blended = (
        SoftTargets(1000, *alphas)(batch, 0) for alphas in ((0.4, 1.0), (0.0, 1.0), (0.4, 0.0))
    )
    as_cut = (both.image == cut.image).all(dim=3).all(dim=2).all(dim=1)
    as_blended = (both.image == blended.image).all(dim=3).all(dim=2).all(dim=1)
    assert (as_cut | as_blended).all()
    assert float(as_cut.float().mean()) == pytest.approx(0.5, abs=0.05)
    only = as_cut & ~as_blended  # where either shows all but nothing of the partner, it is both
    assert torch.equal(both.target[only], cut.target[only])


def own_shares(mixed: SoftBatch) -> dict[int, float]:
    own = mixed.target.gather(1, mixed.label[:, None])[:, 0]
    return dict(zip(mixed.index.tolist(), own.tolist(), strict=True))


def test_what_is_drawn_depends_on_seed_epoch_and_picture_alone() -> None:
    def shares(start: int, seed: int = 42, epoch: int = 3) -> dict[int, float]:
        mix = SoftTargets(8, mixup=1.0, seed=seed)
        return own_shares(mix(marked(8, start=start), epoch))

    first, shifted = shares(start=100), shares(start=103)
    common = sorted(set(first) & set(shifted))
    assert common == [103, 104, 105, 106, 107]
    assert [first[row] for row in common] == [shifted[row] for row in common]
    assert first != shares(100, seed=43) and first != shares(100, epoch=4)


def test_the_draws_are_not_those_of_the_augmentation() -> None:
    """Or a flipped picture would be more of itself than others."""
    index = torch.arange(20_000)
    own = SoftTargets(1, mixup=1.0)
    share = share_at(uniform(42, 0, index, 2000, 4)[:, 1], own.quantiles[1])
    for view in (0, 1, 1000):
        for number in uniform(42, 0, index, view, 4).unbind(1):
            assert torch.corrcoef(torch.stack([share, number]))[0, 1].abs() < 0.03


def test_soft_labels_are_targets_and_are_mixed_as_labels_are() -> None:
    soft = torch.rand(20, 5, generator=generator(0)).softmax(1)
    batch = Batch(torch.zeros(4, 3, 2, 2), torch.tensor([0, 1, 2, 3]), torch.tensor([7, 3, 19, 0]))
    alone = SoftTargets(5, soft=soft)(batch, 0)
    assert torch.equal(alone.target, soft[batch.index]) and alone.image is batch.image
    mixed = SoftTargets(5, mixup=1.0, soft=soft)(batch, 0).target
    hard = SoftTargets(5, mixup=1.0)(batch, 0).target
    share = hard.gather(1, batch.label[:, None])
    torch.testing.assert_close(mixed, share * alone.target + (1 - share) * alone.target.flip(0))


# In the loaders.


def stacked(batches: list[Batch]) -> dict[str, Tensor]:
    return {
        name: torch.cat([getattr(batch, name) for batch in batches])
        for name in ("image", "label", "index", "target")
        if hasattr(batches[0], name)
    }


def test_without_any_a_batch_has_labels_alone(stripes: Path, tmp_path: Path) -> None:
    looker, _ = look(stripes, tmp_path)
    assert all(type(batch) is Batch for batches in looker.seen.values() for batch in batches)


def test_the_same_seed_gives_the_same_batches(stripes: Path, tmp_path: Path) -> None:
    """Whatever the workers; only training batches are mixed, of pictures augmented as ever."""
    seen = []
    for workers in (0, 2):
        mix = SoftTargets(3, mixup=0.4, cutmix=1.0)
        looker, _ = look(stripes, tmp_path, num_workers=workers, soft_targets=mix)
        assert all(type(batch) is Batch for batch in looker.seen["valid"])
        seen.append(stacked(looker.seen["train"]))
    first, second = seen
    assert first.keys() == {"image", "label", "index", "target"}
    assert all(torch.equal(first[name], second[name]) for name in first)
    plain, _ = look(stripes, tmp_path)
    ours, theirs = looker.seen["train"][0], plain.seen["train"][0]
    assert not torch.equal(ours.image, theirs.image)
    assert torch.equal(ours.image, SoftTargets(3, mixup=0.4, cutmix=1.0)(theirs, 0).image)


def test_a_resumed_run_goes_on_with_the_same_batches(stripes: Path, tmp_path: Path) -> None:
    mix = SoftTargets(3, mixup=0.4, cutmix=1.0)
    whole, _ = look(stripes, tmp_path, epochs=3, soft_targets=mix)
    first, _ = look(stripes, tmp_path, epochs=1, soft_targets=mix)
    rest, _ = look(stripes, tmp_path, 3, tmp_path / "last.ckpt", soft_targets=mix)
    expected, found = (
        stacked([batch for part in parts for batch in part.seen["train"]])
        for parts in ((whole,), (first, rest))
    )
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("batch_size", [7, 500])
def test_odd_batches_and_one_that_is_all(stripes: Path, tmp_path: Path, batch_size: int) -> None:
    mix = SoftTargets(3, mixup=0.4, cutmix=1.0)
    looker, _ = look(stripes, tmp_path, epochs=1, batch_size=batch_size, soft_targets=mix)
    seen = stacked(looker.seen["train"])
    assert len(seen["target"]) == (42 if batch_size == 7 else 48)
    torch.testing.assert_close(seen["target"].sum(1), torch.ones(len(seen["target"])))
