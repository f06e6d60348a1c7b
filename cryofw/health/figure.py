"""Numbers as people read them: 107,000 and not 1.067e+05, "1 in 11,600" and not 8.6e-05."""

from __future__ import annotations

import math

_LOUD = 1e9


def figure(value: float, digits: int = 3) -> str:
    """`value` to so many significant digits, with thousands set apart; beyond 10^9 no more."""
    if not math.isfinite(value):
        return "?"
    if abs(value) > _LOUD:
        return "more than 1,000,000,000" if value > 0 else "less than -1,000,000,000"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if abs(float(text)) >= 10**digits else text


def one_in(probability: float) -> str:
    """A small probability as the number of cases that it is one of."""
    return f"1 in {figure(1 / probability)}" if probability > 0 else "never"


def signed(value: float, error: float | None = None) -> str:
    """A difference with its sign, to the digits that its standard error leaves."""
    if not math.isfinite(value):
        return "?"
    if not error or not math.isfinite(error) or error <= 0:
        return f"{value:+.3g}"
    decimals = max(0, math.ceil(-math.log10(error)))
    return f"{value:+.3g}" if decimals > 9 else f"{round(value, decimals) + 0.0:+.{decimals}f}"
