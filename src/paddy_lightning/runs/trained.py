"""A trained network, from its checkpoint: weights, and all that one must know to use them."""

from pathlib import Path
from typing import Any

import torch

from paddy_lightning.choices import PadMode, Resize, Size
from paddy_lightning.data.augment import Augment, kornia_augmentations
from paddy_lightning.data.presize import Presize
from paddy_lightning.errors import UserError
from paddy_lightning.network.model import Network, build_model, resolve_arch
from paddy_lightning.network.weights import have_digits_for
from paddy_lightning.runs.run_folder import file_of

MODEL = "model."  # the network's name in a Classifier, with which those of its weights begin


def load_checkpoint(run: str | Path) -> dict[str, Any]:
    """The best checkpoint of a run folder, or that of a file; nothing in it is run.

    Raises:
        UserError: No such file, or not a checkpoint of this package.
    """
    path = file_of(Path(run))
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; ckpt= names a run folder or a file")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["hyper_parameters"]["class_names"], checkpoint["state_dict"]
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint made by paddy train") from error
    return checkpoint


def at_size(checkpoint: dict[str, Any], size: Size | None) -> dict[str, Any]:
    """The same network, to be shown pictures of another size; None leaves it as it was trained.

    Somewhat larger ones than in training are often judged better: random crops enlarge what a
    network was trained on (Touvron et al., Fixing the train-test resolution discrepancy, 2019).

    Raises:
        UserError: The arch takes pictures of one size alone.
    """
    facts = checkpoint["hyper_parameters"]
    if size is None or tuple(facts["size"]) == size:
        return checkpoint
    if resolve_arch(facts["arch"])[1].fixed_input_size:
        raise UserError(
            f"size={size[0]}x{size[1]}: {facts['arch']} takes the size it was trained with alone,"
            f" {facts['size'][0]}x{facts['size'][1]}"
        )
    return checkpoint | {"hyper_parameters": facts | {"size": list(size)}}


def load_network(checkpoint: dict[str, Any]) -> Network:
    """The network of a checkpoint, with its weights."""
    facts = checkpoint["hyper_parameters"]
    num_classes = len(facts["class_names"])
    arch_args = facts.get("arch_args")  # none in checkpoints of 0.1.0's first days
    network = build_model(facts["arch"], num_classes, "none", tuple(facts["size"]), arch_args)
    weights = {
        name.removeprefix(MODEL): tensor for name, tensor in checkpoint["state_dict"].items()
    }
    have_digits_for(network, weights)
    network.load_state_dict(weights)
    return network


def presize_of(facts: dict[str, Any]) -> Presize:
    """How the pictures of a network are opened, from its checkpoint's facts."""
    resize, pad_mode = Resize(facts["resize"]), PadMode(facts["pad_mode"])
    return Presize(tuple(facts["presize"]), resize, pad_mode, facts["draft"])


def augment_of(facts: dict[str, Any]) -> Augment:
    """What happens to the pictures of a network on the device, from its checkpoint's facts."""
    extra = kornia_augmentations(facts["augment"])
    mean, std = facts["mean"], facts["std"]
    return Augment(tuple(facts["size"]), mean, std, facts["seed"], facts["min_scale"], extra)
