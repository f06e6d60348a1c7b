"""Is a metric past an absolute bound? Needs no baseline: under "the median is within", each block
lies beyond with probability one half at most, and a bet on heads of that coin is fair or loses.

The bound is the metric's limit or what the golden baseline allows, whichever is tighter: a
baseline taken on the last release would let every release lose a little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryofw.health.onset import Onset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.contract import MetricContract

_BETS = (0.75, 0.99)
_CEILING = 1e280


def bound_of(metric: MetricContract, golden: float | None = None) -> float | None:
    """The tighter of the limit and golden + reject, oriented so that higher is worse.

    Args:
        metric: the contract.
        golden: mean of the golden baseline in the metric's unit, or None.
    """
    bounds = []
    if metric.limit is not None:
        bounds.append(metric.harm(metric.limit))
    if golden is not None:
        bounds.append(metric.harm(golden) + metric.reject)
    return min(bounds) if bounds else None


class BoundTest:
    """Two sign tests by betting on one series: is it beyond the bound, and is it within?

    Args:
        bound: oriented so that higher is worse.
        planned: blocks that are expected; the stake of the bet on "beyond" is spread over them,
            so that what begins late is found too.

    Attributes:
        beyond: wealth of the bet that the median lies beyond (bad news).
        within: wealth of the bet that it lies within.
        peak: the highest that `beyond` ever was.
    """

    __slots__ = (
        "_beyond",
        "_bound",
        "_onset",
        "_within",
        "beyond",
        "blocks",
        "outside",
        "peak",
        "within",
    )

    def __init__(self, bound: float, planned: int = 1) -> None:
        self._bound = bound
        self._onset = Onset(max(1, planned))
        self._beyond = [0.0] * len(_BETS)
        self._within = [1.0] * len(_BETS)
        self.beyond = self.within = self.peak = 1.0
        self.blocks = self.outside = 0

    def observe(self, value: float) -> None:
        """Take a block's mean, oriented so that higher is worse."""
        self.blocks += 1
        outside = value > self._bound
        self.outside += outside
        win = [2.0 * p for p in _BETS]
        lose = [2.0 - w for w in win]
        up, down = (win, lose) if outside else (lose, win)
        stake = self._onset.share(self.blocks)
        self._beyond = [
            min((b + stake) * f, _CEILING) for b, f in zip(self._beyond, up, strict=True)
        ]
        self._within = [min(b * f, _CEILING) for b, f in zip(self._within, down, strict=True)]
        self.beyond = sum(self._beyond) / len(_BETS)
        self.within = sum(self._within) / len(_BETS)
        self.peak = max(self.peak, self.beyond)

    def state(self) -> dict[str, Any]:
        """Plain JSON for `restore`."""
        return {"counts": [self.blocks, self.outside], "peak": self.peak,
                "beyond": self._beyond, "within": self._within}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.blocks, self.outside = state["counts"]
        self._beyond, self._within = list(state["beyond"]), list(state["within"])
        self.beyond = sum(self._beyond) / len(_BETS)
        self.within = sum(self._within) / len(_BETS)
        self.peak = state["peak"]
