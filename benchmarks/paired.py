"""Two ways of doing the same, timed in turn, so that a machine's moods meet both alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Pair:
    """What a comparison found.

    Attributes:
        what: Was measured.
        theirs: Seconds of the other side, a number a round.
        ours: Seconds of this project, likewise.
        target: What the ratio theirs / ours should reach at least; with ``at_most``, what
            ours / theirs may reach.
        at_most: Whether the other side is the limit, and not the rival.
        images: How many pictures each round had, to tell speeds; 0 for none.
    """

    what: str
    theirs: Sequence[float]
    ours: Sequence[float]
    target: float | None = None
    at_most: bool = False
    images: int = 0

    @property
    def ratios(self) -> list[float]:
        """One a round."""
        pairs = zip(self.theirs, self.ours, strict=True)
        return [o / t if self.at_most else t / o for t, o in pairs]

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    def row(self) -> dict[str, str]:
        """For the table."""
        aim = "" if self.target is None else f"{'at most' if self.at_most else 'at least'} "
        return {
            "measurement": self.what,
            "other": self._told(self.theirs),
            "this": self._told(self.ours),
            "ratio": f"**{self.ratio:.2f}**",
            "spread": f"{min(self.ratios):.2f} to {max(self.ratios):.2f}",
            "aim": aim + ("" if self.target is None else f"{self.target:g}"),
        }

    def _told(self, seconds: Sequence[float]) -> str:
        middle = statistics.median(seconds)
        told = f"{middle:.2f} s" if middle >= 1 else f"{1000 * middle:.3g} ms"
        return told + (f" ({self.images / middle:.1f}/s)" if self.images else "")


def in_turn(
    what: str,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    rounds: int = 3,
    target: float | None = None,
    at_most: bool = False,
    images: int = 0,
) -> Pair:
    """Time both, one after the other, ``rounds`` times after a round that does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for way, found in zip((theirs, ours), seconds, strict=True):
            start = time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found.append(time.perf_counter() - start)
    return Pair(what, seconds[0][1:], seconds[1][1:], target, at_most, images)
