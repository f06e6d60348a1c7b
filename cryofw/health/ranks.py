"""Where a new value ranks among the baseline and the values since: no noise model needed.

If the new values, less a margin, are exchangeable with the baseline, then the smoothed ranks are
independent and uniform on (0, 1), whatever the distribution (Vovk, Gammerman, Shafer,
Algorithmic Learning in a Random World, 2005, proposition 2.4). If they are better than that, the
ranks only get smaller: a bet on large ranks stays fair or loses.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TIE = 1e-9  # of the largest baseline value: closer than this is equal


class RankBook:
    """Sorted baseline, and the values since, which are ranked as they come.

    The earlier values and the new one lose the same margin, so among them the margin cancels:
    one sorted list serves every margin.

    Args:
        baseline: values from before, in any order.
    """

    __slots__ = ("_base", "_later", "_tie")

    def __init__(self, baseline: Iterable[float]) -> None:
        self._base = sorted(baseline)
        self._later: list[float] = []
        # A margin such as 0.1 is no binary fraction: without a tolerance all the ties of a
        # metric with coarse steps would fall to the same side.
        self._tie = _TIE * max((abs(v) for v in self._base), default=0.0)

    @property
    def count(self) -> int:
        """Values since the baseline."""
        return len(self._later)

    def place(self, value: float, margins: Sequence[float], uniform: float) -> list[float]:
        """Rank `value` once for each margin, then remember it.

        Args:
            value: the new value.
            margins: each is taken off the new and the earlier values before they are compared.
            uniform: breaks ties; between 0 and 1.

        Returns:
            for each margin the smoothed share of values that are not above the new one.
        """
        base, later, tie = self._base, self._later, self._tie
        low = bisect_left(later, value - tie)
        high = bisect_right(later, value + tie)
        total = len(base) + len(later) + 1
        equal = high - low + 1
        shares = []
        for margin in margins:
            left = bisect_left(base, value - margin - tie)
            right = bisect_right(base, value - margin + tie)
            shares.append((low + left + uniform * (equal + right - left)) / total)
        later.insert(bisect_right(later, value), value)
        return shares

    def state(self) -> list[float]:
        """The values since the baseline; with the baseline they are the whole state."""
        return self._later

    def restore(self, later: Iterable[float]) -> None:
        """Go on from what `state` returned."""
        self._later = sorted(later)
