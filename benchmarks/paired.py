"""Ways of doing the same, timed in turn, so that a machine's moods meet all alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Other:
    """A way to measure ours against.

    Attributes:
        what: Is measured, and whose way it is.
        way: Does it; a float that it returns is its seconds, of a clock of its own.
        target: What the ratio theirs / ours should reach at least; with ``at_most``, what
            ours / theirs may reach.
        at_most: Whether the other side is the limit, and not the rival.
    """

    what: str
    way: Callable[[], object]
    target: float | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Pair:
    """What a comparison found.

    Attributes:
        other: What ours was measured against.
        theirs: Seconds of the other side, a number a round; none where there is no other.
        ours: Seconds of this project, likewise.
        images: How many pictures each round had, to tell speeds; 0 for none.
    """

    other: Other
    theirs: Sequence[float]
    ours: Sequence[float]
    images: int = 0

    @property
    def ratios(self) -> list[float]:
        """One a round."""
        pairs = zip(self.theirs, self.ours, strict=True)
        return [o / t if self.other.at_most else t / o for t, o in pairs]

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    def row(self) -> dict[str, str]:
        """For the table."""
        other = self.other
        aim = "" if other.target is None else f"at {'most' if other.at_most else 'least'} "
        return {
            "measurement": other.what,
            "other": self._told(self.theirs) if self.theirs else "",
            "this": self._told(self.ours),
            "ratio": f"**{self.ratio:.2f}**" if self.theirs else "",
            "spread": f"{min(self.ratios):.2f} to {max(self.ratios):.2f}" if self.theirs else "",
            "aim": aim and f"{aim}{other.target:g}",
        }

    def _told(self, seconds: Sequence[float]) -> str:
        middle = statistics.median(seconds)
        told = f"{middle:.2f} s" if middle >= 1 else f"{1000 * middle:.3g} ms"
        return told + (f" ({self.images / middle:.1f}/s)" if self.images else "")


def in_turn(
    ours: Callable[[], object], others: Sequence[Other], rounds: int = 3, images: int = 0
) -> list[Pair]:
    """Time all ways one after the other, ``rounds`` times after a round that does not count."""
    counted = _seconds([ours, *(other.way for other in others)], rounds)
    return [
        Pair(other, theirs, counted[0], images)
        for other, theirs in zip(others, counted[1:], strict=True)
    ]


def alone(what: str, ours: Callable[[], object], rounds: int = 3, images: int = 0) -> Pair:
    """Time a way that has no other."""
    return Pair(Other(what, ours), (), _seconds([ours], rounds)[0], images)


def _seconds(ways: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Of every way, a number a round.

    Each round another way begins, so that none is always the one on a machine just warmed up.
    """
    seconds: list[list[float]] = [[] for _ in ways]
    for first in range(rounds + 1):
        for step in range(len(ways)):
            number = (first + step) % len(ways)
            start = time.perf_counter()
            told = ways[number]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            took = time.perf_counter() - start
            seconds[number].append(told if isinstance(told, float) else took)
    return [found[1:] for found in seconds]
