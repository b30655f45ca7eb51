"""Whether two forms of one network say the same, on the same pictures, one batch at a time."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from paddy_lightning.data.pictures import Pictures
from paddy_lightning.runs.calibration import temperature_of
from paddy_lightning.runs.trained import augment_of, load_network

AT_ONCE = 16  # pictures
Way = Callable[[np.ndarray], np.ndarray]  # uint8 [B, height, width, 3] -> float32 [B, num_classes]


class Answers(NamedTuple):
    """What one form of a network says.

    Attributes:
        probabilities: float32 [N, num_classes].
        milliseconds: That a picture took, opened already.
    """

    probabilities: np.ndarray
    milliseconds: float


class Form(NamedTuple):
    """One form of a network, on pictures whose classes are known.

    Attributes:
        error_rate: Of these pictures.
        ms_a_picture: Opened already, in batches of 16.
        largest_difference: Of a probability, from the first form's.
        labels_differ: From the first form's; a number of pictures.
    """

    error_rate: float
    ms_a_picture: float
    largest_difference: float
    labels_differ: int


def by_checkpoint(checkpoint: dict[str, Any], tta: bool = False) -> Way:
    """The network as ``paddy predict`` runs it, on the CPU; ``tta``: mirror images as well."""
    facts = checkpoint["hyper_parameters"]
    network, augment = load_network(checkpoint).eval(), augment_of(facts)
    dtype = next(network.parameters()).dtype

    @torch.inference_mode()
    def probabilities(pictures: np.ndarray) -> np.ndarray:
        seen = augment.plain(torch.from_numpy(pictures)).to(dtype)
        views = (seen, seen.flip(3)) if tta else (seen,)
        logits = [network(one.contiguous(memory_format=torch.channels_last)) for one in views]
        shares = (torch.stack(logits).float() / temperature_of(checkpoint)).softmax(2)
        return shares.mean(0).numpy()

    return probabilities


def batches(pictures: Pictures, size: int) -> Iterator[np.ndarray]:
    """All pictures in their order, uint8 [size or less, height, width, 3] each."""
    for rows in torch.arange(len(pictures)).split(size):
        yield np.stack([one.image.numpy() for one in pictures.__getitems__(rows.tolist())])


def ask(ways: Mapping[str, Way], pictures: Pictures) -> dict[str, Answers]:
    """Show every picture to every form of a network, in turn, so that they share the machine."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for images in batches(pictures, AT_ONCE):
        for name, way in ways.items():
            if not found[name]:
                way(images)  # the first time takes longer
            started = time.perf_counter()
            found[name].append(way(images))
            seconds[name] += time.perf_counter() - started
    return {
        name: Answers(np.concatenate(shares), 1000 * seconds[name] / len(pictures))
        for name, shares in found.items()
    }


def held_together(answers: Mapping[str, Answers], labels: np.ndarray) -> dict[str, Form]:
    """How well each form does, and how far it is from the first.

    Args:
        answers: By name.
        labels: int64 [N], the true classes.
    """
    first = next(iter(answers.values())).probabilities
    said = first.argmax(1)
    return {
        name: Form(
            float((shares.argmax(1) != labels).mean()),
            round(milliseconds, 2),
            float(np.abs(shares - first).max()),
            int((shares.argmax(1) != said).sum()),
        )
        for name, (shares, milliseconds) in answers.items()
    }


def table(forms: Mapping[str, Form]) -> str:
    """A line a form."""
    rows = [form._asdict() for form in forms.values()]
    return pd.DataFrame(rows, list(forms)).to_string(
        formatters={"error_rate": "{:.4f}".format, "largest_difference": "{:.1e}".format}
    )
