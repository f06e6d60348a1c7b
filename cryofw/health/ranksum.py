"""The rank-sum test at a planned look (Wilcoxon 1945; Mann and Whitney 1947), one-sided.

A pass is decided at the end of the soak, a moment that is planned. There a test made for one look
sees more than a bet that must hold at every look: with three blocks against six it can say yes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXACT = 40


def lower_p(sample: Sequence[float], baseline: Sequence[float], margin: float) -> float:
    """P-value of "`sample` lies at or above `baseline` + `margin`"; small means it lies below.

    Args:
        sample: new values.
        baseline: values from before, sorted; none of both means nothing is known, 1.
        margin: in the values' unit.
    """
    m, n = len(baseline), len(sample)
    if not m or not n:
        return 1.0
    # Pairs in which the new value is not below: ties speak against it.
    tie = 1e-9 * max(abs(baseline[0]), abs(baseline[-1]))
    above = sum(bisect_right(baseline, value - margin + tie) for value in sample)
    if m + n <= _EXACT:
        counts = _distribution(m, n)
        return sum(counts[: above + 1]) / math.comb(m + n, n)
    z = (above - m * n / 2 + 0.5) / math.sqrt(m * n * (m + n + 1) / 12)
    return 0.5 * math.erfc(-z / math.sqrt(2))


@lru_cache(maxsize=256)
def _distribution(m: int, n: int) -> tuple[int, ...]:
    """How many of the orders of m and n values have U = 0, 1, ..., m n (Gaussian binomial)."""
    counts = [1] + [0] * (m * n)
    for i in range(1, n + 1):
        for u in range(m * n, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    return tuple(counts)
