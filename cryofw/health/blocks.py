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

LEAST_BLOCKS = 6
_MOST_RHO = 0.98
_AMPLE = 100
_POSITIVE = 1.28  # standard errors of r1: below, a series is taken as independent
_STILL = 2.0  # standard errors: above, block means still resemble each other


def autocorrelation(values: Sequence[float]) -> float:
    """Lag-1 autocorrelation of `values` in time order, corrected for bias; at most 0.98."""
    count = len(values)
    if count < 3:
        return 0.0
    mean = math.fsum(values) / count
    deviations = [value - mean for value in values]
    squares = sum(d * d for d in deviations)
    if squares <= 1e-18 * count * max(mean * mean, 1e-300):
        return 0.0  # a constant metric
    r1 = sum(a * b for a, b in pairwise(deviations)) / squares
    return min(r1 + (1 + 4 * r1) / count, _MOST_RHO)


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


def choose_length(baseline: Sequence[float], shared: int = 1) -> int:
    """The block length for a stream, from its baseline in time order; 0 when none will do.

    The rule of this module, with guards. An r1 that noise alone would give is taken as
    none: half of all independent baselines would get blocks of two otherwise. If the block means
    still resemble each other (noise that lasts longer than its first lag tells), the rule is
    applied to them once more. And at least six blocks must come out of the baseline. With 100
    samples or more the length is cut to that: so few blocks cannot win a large bet anyway. If the
    rule asks for twice as much or more, or the baseline is shorter, nothing can be judged.

    Args:
        baseline: samples in time order.
        shared: `shared_length` of the wave; no stream gets shorter blocks.
    """
    if len(baseline) < LEAST_BLOCKS:
        return 0
    asked, length = _lengths([baseline])
    return _fitted(len(baseline), asked, max(length, shared))


def shared_length(series: Sequence[Sequence[float]]) -> int:
    """The block length that the baselines of a wave ask for together, at least 1.

    One short baseline may look independent by chance, and of forty some will; and block means
    that still resemble each other a little show in all of them, but not in one.
    """
    return _lengths(series)[1]


def expected_length(count: int, rho: float) -> int:
    """The length that a wave of `count` samples each will choose at autocorrelation `rho`; 0: none.

    A series with geometric correlations: those of its block means follow from `rho`.
    """
    asked, rest = block_length(rho), 0.0
    if rho > 0:
        covariance = rho * ((1 - rho**asked) / (asked * (1 - rho))) ** 2
        rest = covariance / block_deviation(rho, asked) ** 2
    return _fitted(count, asked, math.ceil(asked * (1 + rest) / (1 - rest) - 1e-9))


def _fitted(count: int, asked: int, length: int) -> int:
    """`length`, or what at least six blocks of `count` samples leave of it; 0: too little."""
    longest = count // LEAST_BLOCKS
    if length <= longest:
        return length
    return longest if count >= _AMPLE and asked <= 2 * longest else 0


def _lengths(series: Sequence[Sequence[float]]) -> tuple[int, int]:
    """Block length by the rule, and with the rule applied to the block means once more."""
    asked = block_length(_common(series, _POSITIVE, raw=True))
    rest = _common([block_means(values, asked) for values in series], _STILL)
    return asked, math.ceil(asked * (1 + rest) / (1 - rest) - 1e-9)


def _common(series: Sequence[Sequence[float]], errors: float, *, raw: bool = False) -> float:
    """Mean autocorrelation; 0 unless it is so many standard errors above that.

    Of fewer than 100 `raw` samples, one standard error is added: a short baseline must not guess.
    """
    known = [values for values in series if len(values) >= LEAST_BLOCKS]
    count = sum(len(values) for values in known)
    rho = sum(len(v) * autocorrelation(v) for v in known) / count if count else 0.0
    if rho * math.sqrt(count) < errors:
        return 0.0
    if raw and count < _AMPLE:
        rho = min(rho + math.sqrt((1 - rho * rho) / count), _MOST_RHO)
    return rho
