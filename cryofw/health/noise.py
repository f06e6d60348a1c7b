"""Noise that grows without a shift: the log-variance of short groups of samples is a metric too.

A group's variance does not see a shift of the mean, and its logarithm turns "twice the noise"
into a shift that does not depend on the unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cryofw.health.shift import ShiftTest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GROUP = 5
TOLERATED = 1.1  # growth of the standard deviation that is no failure
_LEAST = 1e-300


def log_variance(values: Sequence[float]) -> float:
    """Natural logarithm of the variance of `values` (two or more)."""
    mean = sum(values) / len(values)
    squares = sum([(v - mean) ** 2 for v in values])
    return math.log(max(squares / (len(values) - 1), _LEAST))


class NoiseTest:
    """Is the noise more than `TOLERATED` times what it was?

    Args:
        baseline: samples from before, in time order.
        length: block length of the stream; a group is at least as long.
        planned: samples that are expected.
        seed: breaks ties.
    """

    __slots__ = ("_group", "_size", "_test")

    def __init__(self, baseline: Sequence[float], length: int, planned: int, seed: bytes) -> None:
        self._size = size = max(GROUP, length)
        start = len(baseline) % size
        groups = [log_variance(baseline[i : i + size]) for i in range(start, len(baseline), size)]
        self._test = ShiftTest(
            groups, ((2 * math.log(TOLERATED), 1),), planned // size, seed, length=1
        )
        self._group: list[float] = []

    @property
    def value(self) -> float:
        """Wealth of the bet that the noise grew."""
        return self._test.wagers[0].value

    @property
    def peak(self) -> float:
        """The highest it ever was."""
        return self._test.wagers[0].peak

    @property
    def ratio(self) -> float | None:
        """Standard deviation since, over that of the baseline (typical groups); None at first."""
        now, before = self._test.blocks, self._test.base_blocks
        if not now or not before:
            return None
        return math.exp(0.5 * (math.fsum(now) / len(now) - math.fsum(before) / len(before)))

    def observe(self, value: float) -> None:
        """Take the next sample."""
        group = self._group
        group.append(value)
        if len(group) == self._size:
            self._test.observe(log_variance(group))
            self._group = []

    def state(self) -> dict[str, Any]:
        """Plain JSON for `restore`."""
        return {"group": list(self._group), "test": self._test.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._group = list(state["group"])
        self._test.restore(state["test"])
