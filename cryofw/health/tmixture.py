"""The t-mixture e-process: an option for noise that is known to be Gaussian.

Against "the mean after is at most `margin` above the mean before", with m and n independent
Gaussian values of one variance, q = m n / (m + n), nu = m + n - 2 and the pooled standard
deviation s,

    T = sqrt(q) (mean_after - margin - mean_before) / s
    E = 1/4 sum over d in {0.5, 1, 2, 4} of f(T; nu, d sqrt(q)) / f(T; nu, 0)

with f the density of the non-central t distribution (Lindon, Sanden, Shirikian, KDD 2022; always
valid t-tests: arXiv 2310.03722). It is recomputed from (n, sum, sum of squares) at each look.
Heavy tails break it: 2 % of spikes gave 38 % false rollbacks, which is why ranks are the default.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EFFECTS = (0.5, 1.0, 2.0, 4.0)
_CLIP = 60.0
_STEPS = 48
_REACH = 9.0


def log_ratio(t: float, nu: float, delta: float) -> float:
    """Log of the non-central t density at `t` over the central one, both with `nu` degrees.

    The density is, up to what cancels in the ratio,
    exp(-delta^2 nu / (2 (t^2 + nu))) times the integral over y > 0 of y^nu exp(-(y - a)^2 / 2)
    with a = delta t / sqrt(t^2 + nu) (Johnson, Kotz, Balakrishnan, Continuous Univariate
    Distributions 2, 1995, ch. 31). The trapezoidal rule around the integrand's mode converges
    geometrically.
    """
    squares = t * t + nu
    a = delta * t / math.sqrt(squares)
    central = 0.5 * (nu - 1) * math.log(2) + math.lgamma(0.5 * (nu + 1))
    return _log_integral(a, nu) - central - 0.5 * delta * delta * nu / squares


def _log_integral(a: float, nu: float) -> float:
    mode = 0.5 * (a + math.sqrt(a * a + 4 * nu))
    peak = nu * math.log(mode) - 0.5 * (mode - a) ** 2
    width = _REACH / math.sqrt(1 + nu / (mode * mode))
    low = max(mode - width, mode * 1e-9)
    step = (mode + width - low) / _STEPS
    total = 0.0
    for i in range(_STEPS + 1):
        y = low + i * step
        total += math.exp(nu * math.log(y) - 0.5 * (y - a) ** 2 - peak)
    return peak + math.log(total * step)


class TMixture:
    """E-process of one series of block means.

    Args:
        baseline: block means from before.
        margin: a shift up to this is no failure.

    Attributes:
        value: the e-value after the latest block.
        peak: the highest it ever was.
    """

    __slots__ = ("_base", "_count", "_margin", "_squares", "_sum", "peak", "value")

    def __init__(self, baseline: Sequence[float], margin: float) -> None:
        m = len(baseline)
        mean = math.fsum(baseline) / m
        self._base = (m, mean, math.fsum((v - mean) ** 2 for v in baseline))
        self._margin = margin
        self._count, self._sum, self._squares = 0, 0.0, 0.0
        self.value = self.peak = 1.0

    def observe(self, value: float) -> None:
        """Take the next block's mean."""
        # Sums about the baseline's mean: far from zero the squares would eat the digits.
        deviation = value - self._base[1]
        self._count += 1
        self._sum += deviation
        self._squares += deviation * deviation
        self.value = self._e_value()
        self.peak = max(self.peak, self.value)

    def _e_value(self) -> float:
        m, _, base_squares = self._base
        n = self._count
        mean = self._sum / n
        squares = base_squares + max(0.0, self._squares - n * mean * mean)
        nu = m + n - 2
        root = math.sqrt(m * n / (m + n))
        spread = math.sqrt(squares / nu) if nu > 0 else 0.0
        if spread == 0.0:
            return 1.0
        t = min(max(root * (mean - self._margin) / spread, -_CLIP), _CLIP)
        return sum(math.exp(min(log_ratio(t, nu, d * root), 600.0)) for d in EFFECTS) / 4

    def state(self) -> dict[str, Any]:
        """Plain JSON for `restore`: n, sum and sum of squares, and the values so far."""
        return {"n": self._count, "sum": self._sum, "squares": self._squares,
                "value": self.value, "peak": self.peak}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._count, self._sum, self._squares = state["n"], state["sum"], state["squares"]
        self.value, self.peak = state["value"], state["peak"]
