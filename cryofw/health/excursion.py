"""Since when does a series stand above a level? Page's cumulative sum, for the words of a verdict.

A bet says that something moved; the mean since the update says by how much only if it moved at
once. What came in after twenty good minutes is diluted by them: "-0.29 dB is beyond 0.5" would
read like a mistake. The sum starts anew whenever it falls to zero, so it runs from about where
the excursion began (Page, Biometrika 41, 1954). It decides nothing.
"""

from __future__ import annotations


class Excursion:
    """The latest run of values above a level.

    Args:
        level: what the mean of a run exceeds.

    Attributes:
        count: values in the run; 0 when the series is not above the level.
    """

    __slots__ = ("_level", "_total", "count")

    def __init__(self, level: float) -> None:
        self._level = level
        self._total = 0.0
        self.count = 0

    def observe(self, value: float) -> None:
        """Take the next value."""
        self._total += value
        self.count += 1
        if self._total <= self._level * self.count:
            self._total, self.count = 0.0, 0

    @property
    def mean(self) -> float:
        """Of the run; the level itself when there is none."""
        return self._total / self.count if self.count else self._level

    def state(self) -> list[float]:
        """Plain JSON for `restore`."""
        return [self._total, self.count]

    def restore(self, state: list[float]) -> None:
        """Go on from what `state` returned."""
        self._total, self.count = state[0], int(state[1])
