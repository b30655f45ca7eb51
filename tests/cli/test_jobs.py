"""A sweep's jobs are looked at together: what fits is let through, what never fits is not."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from paddy_lightning.cli import jobs
from paddy_lightning.cli.help import CONF
from paddy_lightning.cli.hydra_errors import explain
from paddy_lightning.cli.jobs import composer, read_overrides, refuse_wrong_values, values_of
from paddy_lightning.cli.schemas import register_schemas
from paddy_lightning.config import TrainConfig

ARCH = "arch=mobilenetv3_small_050"


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def swept(words: str) -> tuple[DictConfig, ConfigLoader]:
    """The config of a whole sweep, as Hydra hands it to a callback."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    config = hydra.compose_config("train", words.split(), RunMode.MULTIRUN)
    return config, hydra.config_loader


def look_at(words: str) -> list[TrainConfig]:
    """The jobs that were composed; raises what refuses the sweep."""
    config, loader = swept(words)
    compose, seen = composer(config, loader), list[TrainConfig]()

    def composed(job: tuple[str, ...]) -> TrainConfig:
        seen.append(compose(job))
        return seen[-1]

    refuse_wrong_values(read_overrides(config, loader), composed)
    return seen


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("folds=10 fold=5,6", 2),
        ("schedule=one_cycle unfrozen_lr=1e-4,1e-5", 2),
        ("schedule=one_cycle unfrozen_lr=1e-4 seed=1,2", 2),
        ("recipe=two_cycles unfrozen_lr=1e-4,1e-5", 2),
        ("batch_size=48 trainer.devices=3 seed=1,2", 2),
        ("fold=4,5 folds=5,6", 4),
        ("recipe=glob(large_*)", 7),
        ("recipe=large_convnext ~trainer.accumulate_grad_batches seed=1,2", 2),
        ("seed=1,2 seed=3,4,5", 3),
        ("lr=interval(1e-4,1e-2) arch=choice(resnet26d,resnet18)", 2),
        ("folds=int(interval(8,12)) fold=7", 1),
        ("lr=tag(log,interval(1e-4,1e-2))", 1),
    ],
)
def test_what_fits_together_is_let_through(words: str, count: int) -> None:
    assert len(look_at(words)) == count


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("arch=resnet26d,convnext_smal seed=1,2", "arch=convnext_smal: timm has no such model"),
        ("fold=4,5", "fold=5: must be from 0 to 4 (folds - 1)"),
        ("arch=x,resnet26d fold=9 folds=5,10", "arch=x: timm has no such model"),
        ("lr=-1 seed=1,2", "lr=-1: must be above 0"),
        ("size=64,12y", "size=12y: not a size"),
        ("epochs=3,a", "epochs: Value 'a' of type 'str' could not be converted to Integer"),
        ("+lrr=1,2", "lrr: no such knob; did you mean lr?"),
        ("data=null,auto", "data=, recipe=: take a name of theirs"),
        ("seed=range(40) epochs=-1", "epochs=-1: must be at least 0"),
        ("unfrozen_lr=1e-4,1e-5", "unfrozen_lr=0.0001: goes with schedule=one_cycle only"),
    ],
)
def test_what_no_job_can_work_with_ends_the_sweep(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LOOKED_AT", 20)
    with pytest.raises(Exception) as caught:
        look_at(f"{ARCH} {words}" if "arch=" not in words else words)
    assert explain(caught.value, TrainConfig).startswith(message)


@pytest.mark.parametrize(
    "words",
    [
        "lr=1e-3,2e-3 resize=pad,crop trainer.max_time=null size=64x48 tta=true",
        "recipe=pad,final data=auto,folder",
        "augment=[{RandomErasing:{p:0.5}}],[] data.root=ab,null +trainer.deterministic=true",
    ],
)
def test_a_job_is_composed_as_hydra_does(words: str) -> None:
    config, loader = swept(words)
    compose = composer(config, loader)
    for job in product(*map(values_of, read_overrides(config, loader))):
        whole = loader.load_sweep_config(config, list(job))
        with open_dict(whole):
            del whole["hydra"]
        assert compose(job) == OmegaConf.to_object(whole)


def test_a_hundred_jobs_are_composed_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra takes a fourteenth of a second for each."""
    _, loader = swept(f"{ARCH} lr=1e-3,2e-3 seed=range(50)")
    composed: list[object] = []
    kind, load = type(loader), type(loader).load_configuration

    def counted(*arguments: Any, **more: Any) -> Any:
        composed.append(arguments)
        return load(*arguments, **more)

    monkeypatch.setattr(kind, "load_configuration", counted)
    assert len(look_at(f"{ARCH} lr=1e-3,2e-3 seed=range(50)")) == 100
    assert len(composed) < 10
