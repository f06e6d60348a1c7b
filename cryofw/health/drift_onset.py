"""When a drift began: least squares of "level, then ramp" and of "level, then another level".

An estimate with an approximate 95 % range (profile likelihood, the noise taken as Gaussian after a
running median of three), not part of the promise about false alarms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_RANGE = 3.84 * 2.0  # chi-square of one degree, 95 %; doubled, for neighbours share their medians


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where in a series the change began, as positions in the list of blocks.

    Attributes:
        at: first block that is changed.
        earliest: of the range in which it lies.
        latest: likewise.
        gradual: a ramp fits better than a step.
    """

    at: int
    earliest: int
    latest: int
    gradual: bool


def estimate_beginning(times: Sequence[float], values: Sequence[float], until: int) -> Beginning:
    """Where the change in `values` began, given that there is one.

    Args:
        times: of the blocks, ascending.
        values: of the blocks; at least 3.
        until: position of the block that raised the alarm; the change began by then.
    """
    smooth = [median(values[max(0, i - 1) : i + 2]) for i in range(len(values))]
    last = min(until, len(values) - 2)
    places = range(1, last + 1)
    steps = [_step_residual(smooth, place) for place in places]
    ramps = [_ramp_residual(times, smooth, place) for place in places]
    gradual = min(ramps) < min(steps)
    chosen = ramps if gradual else steps
    best = min(chosen)
    at = places[chosen.index(best)]
    # A perfect fit leaves nothing to compare with.
    limit = max(best, 1e-12 * _squares(smooth)) * math.exp(_RANGE / len(values))
    near = [p for p, r, s in zip(places, ramps, steps, strict=True) if min(r, s) <= limit]
    return Beginning(at, min(at, *near), max(at, *near), gradual)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Change of `values` per unit of `times`: the median of all pairs' (Theil, Sen); 0 of one."""
    rises = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(values))
        for j in range(i + 1, len(values))
    ]
    return median(rises) if rises else 0.0


def _squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values)


def _step_residual(values: Sequence[float], place: int) -> float:
    return _squares(values[:place]) + _squares(values[place:])


def _ramp_residual(times: Sequence[float], values: Sequence[float], place: int) -> float:
    """Of the regression on max(0, t - time of the block before `place`)."""
    knee = times[place - 1]
    ramp = [max(0.0, t - knee) for t in times]
    count = len(values)
    mean_x, mean_y = math.fsum(ramp) / count, math.fsum(values) / count
    sxx = math.fsum((x - mean_x) ** 2 for x in ramp)
    sxy = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(ramp, values, strict=True))
    return max(0.0, _squares(values) - (sxy * sxy / sxx if sxx else 0.0))
