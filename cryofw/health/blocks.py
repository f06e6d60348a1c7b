"""Neighbouring samples resemble each other, so means of blocks of them are judged instead.

The length of a block comes from the baseline alone and is fixed before the first look:
b = ceil((1 + rho) / (1 - rho)), with rho the lag-1 autocorrelation corrected for its bias,
r1 + (1 + 4 r1) / M of M samples (Marriott and Pope, Biometrika 1954).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_RHO = 0.98


def autocorrelation(values: Sequence[float]) -> float:
    """Lag-1 autocorrelation of `values` in time order, corrected for bias; 0 to 0.98.

    Negative autocorrelation makes block means quieter than they seem; it is read as none.
    """
    count = len(values)
    if count < 3:
        return 0.0
    mean = math.fsum(values) / count
    deviations = [value - mean for value in values]
    squares = sum(d * d for d in deviations)
    if squares <= 1e-18 * count * max(mean * mean, 1e-300):
        return 0.0  # a constant metric
    r1 = sum(a * b for a, b in pairwise(deviations)) / squares
    return min(max(r1 + (1 + 4 * r1) / count, 0.0), _MOST_RHO)


def block_length(rho: float) -> int:
    """Samples in a block at the lag-1 autocorrelation `rho` (0 to below 1)."""
    return max(1, math.ceil((1 + rho) / (1 - rho) - 1e-9))


def block_means(values: Sequence[float], length: int) -> list[float]:
    """Means of the blocks of `length`; samples that fill no block are left at the old end."""
    start = len(values) % length
    if length == 1:
        return list(values)
    return [math.fsum(values[i : i + length]) / length for i in range(start, len(values), length)]


def block_deviation(rho: float, length: int) -> float:
    """Standard deviation of a block's mean in units of one sample's, of an AR(1) series."""
    tail = 2 * rho * (1 - rho**length) / (length * (1 - rho) ** 2)
    return math.sqrt(((1 + rho) / (1 - rho) - tail) / length)


LEAST_BLOCKS = 6
_AMPLE = 100
_POSITIVE = 1.28  # standard errors of r1: below, a series is taken as independent
_STILL = 2.0  # standard errors: above, block means still resemble each other


def choose_length(baseline: Sequence[float]) -> int:
    """The block length for a stream, from its baseline in time order; 0 when none will do.

    The rule of this module, with three guards. An r1 that noise alone would give is taken as
    none: half of all independent baselines would get blocks of two otherwise. If the block means
    still resemble each other (noise that lasts longer than its first lag tells), the rule is
    applied to them once more. And at least six blocks must come out of the baseline: with 100
    samples or more the length is cut to that, down to a half of what the rule asks, since so few
    blocks cannot win a large bet anyway; beyond that nothing can be judged.
    """
    count = len(baseline)
    longest = count // LEAST_BLOCKS
    if longest < 1:
        return 0
    rho = autocorrelation(baseline)
    length = 1 if rho * math.sqrt(count) < _POSITIVE else block_length(rho)
    means = block_means(baseline, length)
    if len(means) >= LEAST_BLOCKS:
        rest = autocorrelation(means)
        if rest * math.sqrt(len(means)) > _STILL:
            length = math.ceil(length * (1 + rest) / (1 - rest))
    if length <= longest:
        return length
    return longest if count >= _AMPLE and length <= 2 * longest else 0
