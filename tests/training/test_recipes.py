"""Every recipe is what the story says, and runs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from paddy_lightning.cli.help import CONF, choices
from paddy_lightning.cli.schemas import register_schemas
from paddy_lightning.config import TrainConfig
from paddy_lightning.network.model import resolve_arch

RECIPES = choices("recipe")
# resize, presize, size, frozen and unfrozen epochs, rate
STORY: dict[str, tuple[Any, ...]] = {
    "baseline": ("resnet26d.bt_in1k", "squish", (480, 480), (128, 128), 1, 3, 2e-3),
    "better_lr": ("resnet26d.bt_in1k", "squish", (480, 480), (128, 128), 1, 3, 3e-3),
    "two_cycles": ("resnet26d.bt_in1k", "squish", (480, 480), (128, 128), 3, 6, 3e-3),
    "longer": ("resnet26d.bt_in1k", "squish", (480, 480), (128, 128), 3, 14, 1e-2),
    "convnext": ("convnext_small.fb_in22k", "squish", (192, 192), (128, 128), 1, 5, 1e-2),
    "pad": ("convnext_small.fb_in22k", "pad", (480, 360), (256, 192), 1, 5, 1e-2),
    "final": ("convnext_small.fb_in22k", "pad", (480, 360), (256, 192), 1, 12, 1e-2),
}


@pytest.fixture(scope="module")
def composed() -> Iterator[Callable[[str], TrainConfig]]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):

        def config(name: str) -> TrainConfig:
            made: Any = OmegaConf.to_object(compose("train", [f"recipe={name}"]))
            return made

        yield config


@pytest.mark.parametrize("name", STORY)
def test_a_recipe_is_what_the_story_says(name: str, composed: Callable[[str], TrainConfig]) -> None:
    config = composed(name)
    arch, resize, presize, size, freeze_epochs, epochs, lr = STORY[name]
    assert resolve_arch(config.arch)[0] == arch
    assert (config.resize, config.presize, config.size) == (resize, presize, size)
    assert (config.freeze_epochs, config.epochs, config.lr) == (freeze_epochs, epochs, lr)


def test_the_large_ensemble_fits_and_splits_anew(composed: Callable[[str], TrainConfig]) -> None:
    members = [composed(name) for name in RECIPES if name.startswith("large_")]
    assert len(members) == 7
    assert len({config.split_seed for config in members}) == 7
    for config in members:
        assert config.batch_size * config.trainer["accumulate_grad_batches"] == 64
        assert resolve_arch(config.arch)[0] == config.arch  # the whole name, tag included


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_lines_are_the_command(name: str) -> None:
    first, second, *_ = (CONF / "recipe" / f"{name}.yaml").read_text().splitlines()
    assert first == "# @package _global_"
    command = "-m 'recipe=glob(large_*)'" if name.startswith("large_") else f"recipe={name}"
    assert re.match(rf"# paddy train {re.escape(command)}[;:] .*\.\d", second), second


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_for_a_batch(
    name: str, run_script: Callable[..., Any], stripes: Path, tmp_path: Path
) -> None:
    short = ["epochs=1", "freeze_epochs=0", "batch_size=2", "trainer.limit_train_batches=1"]
    data = ["data=paddy", f"data.root={stripes}", "weights=none", "tta=false", "num_workers=0"]
    result = run_script(
        *("train", f"recipe={name}", *data, *short, "trainer.accumulate_grad_batches=1")
    )
    assert result.returncode == 0, result.stderr
