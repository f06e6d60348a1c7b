"""Days of samples as blocks of equal time: what slow drift is looked for in.

Neighbouring samples resemble each other, and one spike is no drift. A block of hours is neither:
its value is the mean of the middle half of its samples. The length is chosen from the baseline
alone, for all devices of a cryostat together, so that the blocks of one moment can be compared.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from cryofw.health.blocks import autocorrelation, block_length
from cryofw.health.shift import usable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LENGTHS_S = tuple(
    60.0 * minutes
    for minutes in (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440, 2880, 5760)
)
"""Lengths of blocks: most divide a day, so that day and night stay apart or together."""

LEAST_BASELINE = 20
"""Blocks of baseline without which nothing is judged."""

_MOST_BLOCKS = 240  # of a period: more add work, not sight of what is slow
_SAFETY = 3  # times the block length of the rule in `blocks.py`: the evidence asked for is large
_FILLED = 1 / 3  # of the expected samples make a block
_TRIM = 4  # a quarter of a block's samples is left out on each side
_POSITIVE = 1.28  # standard errors of an autocorrelation: below, it is taken as none


@dataclass(frozen=True)
class DriftSeries:
    """One metric of one device as it was recorded.

    Attributes:
        times: seconds since 1970, strictly ascending.
        values: in the metric's unit; what is not finite is a gap.
        missing: samples that the source was due to have and had not.
    """

    times: Sequence[float]
    values: Sequence[float]
    missing: int = 0

    def interval_s(self, start_s: float, end_s: float) -> float:
        """The usual time between two samples from `start_s` to `end_s`; NaN of fewer than two."""
        first, last = bisect_left(self.times, start_s), bisect_left(self.times, end_s)
        steps = [b - a for a, b in pairwise(self.times[first:last])]
        return median(steps) if steps else math.nan

    def between(self, start_s: float, end_s: float) -> list[float]:
        """The usable values from `start_s` until before `end_s`."""
        first, last = bisect_left(self.times, start_s), bisect_left(self.times, end_s)
        return [value for value in self.values[first:last] if usable(value)]


@dataclass(frozen=True)
class BlockGrid:
    """Blocks of `length_s` seconds, counted from 1970, that lie wholly in a period.

    Attributes:
        first: index of the first one.
        judged: index of the first that is no baseline.
        end: index after the last one.
    """

    length_s: float
    first: int
    judged: int
    end: int

    @classmethod
    def over(cls, length_s: float, start_s: float, judged_s: float, end_s: float) -> BlockGrid:
        """The grid of a period whose baseline ends at `judged_s`."""
        first, judged = math.ceil(start_s / length_s), math.ceil(judged_s / length_s)
        return cls(length_s, first, judged, max(judged, math.floor(end_s / length_s)))

    def blocks(self, series: DriftSeries, interval_s: float) -> dict[int, float]:
        """Index to value of each block that has at least a third of its samples.

        Args:
            series: the samples.
            interval_s: the usual time between two of them.
        """
        need = max(1.0, _FILLED * self.length_s / interval_s)
        found: dict[int, float] = {}
        open_index, members = self.first, list[float]()
        start = bisect_left(series.times, self.first * self.length_s)
        end = bisect_left(series.times, self.end * self.length_s)
        for place in range(start, end):
            index = int(series.times[place] // self.length_s)
            if index != open_index:
                if len(members) >= need:
                    found[open_index] = middle_mean(members)
                open_index, members = index, []
            if usable(value := series.values[place]):
                members.append(value)
        if members and len(members) >= need:
            found[open_index] = middle_mean(members)
        return found


def middle_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: spikes do not move it."""
    out = len(values) // _TRIM
    middle = sorted(values)[out : len(values) - out]
    return math.fsum(middle) / len(middle)


def candidate_lengths(
    members: Mapping[str, DriftSeries], start_s: float, judged_s: float, end_s: float
) -> list[float]:
    """Block lengths in seconds that the baselines allow, shortest first.

    The rule of `blocks.py` over the samples of the baseline, times three, and at most 240 blocks.
    The length must leave the baseline its least number of blocks.
    """
    rhos: list[float] = []
    intervals: list[float] = []
    for series in members.values():
        values = series.between(start_s, judged_s)
        if len(values) >= LEAST_BASELINE:
            rho = autocorrelation(values)
            error = math.sqrt(max(0.0, 1 - rho * rho) / len(values))
            rhos.append(0.0 if rho < _POSITIVE * error else min(0.98, rho + error))
            intervals.append(series.interval_s(start_s, judged_s))
    if not rhos:
        return []
    least_s = _SAFETY * block_length(median(rhos)) * median(intervals)
    if median(rhos) == 0.0:
        least_s = median(intervals)
    least_s = max(least_s, (end_s - start_s) / _MOST_BLOCKS)
    longest_s = (judged_s - start_s) / LEAST_BASELINE
    return [length for length in LENGTHS_S if least_s <= length <= longest_s]


def is_independent(series: Sequence[Sequence[float]]) -> bool:
    """Whether blocks of most of `series` no longer resemble their neighbours.

    The median over the series: one that drifts already in its baseline is a matter of its own.
    """
    if not series:
        return False
    rho = median(autocorrelation(values) for values in series)
    return rho * math.sqrt(sum(map(len, series))) < _POSITIVE or rho < 0.05


def is_unsteady(baseline: Sequence[float]) -> bool:
    """Whether a baseline drifts or wanders already by itself."""
    return autocorrelation(baseline) * math.sqrt(len(baseline)) > 3.0
