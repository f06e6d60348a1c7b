"""Does it answer too rarely? The Shiryaev-Roberts test over heartbeats.

Each beat multiplies by LR = p1/p0 when it was missed and (1-p1)/(1-p0) when it was answered,
and new stake enters before: S = (S + w) LR. With w = 1/N over N planned beats this is
Shiryaev-Roberts divided by N; S plus the stake not yet entered is a martingale while misses come
with probability p0 at most, so S reaches 1/alpha with probability alpha at most. (Restarting the
bet at 1 when it falls below is CUSUM, and Ville's bound is gone.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryofw.health.figure import figure
from cryofw.health.onset import Onset

if TYPE_CHECKING:
    from collections.abc import Mapping

MISS_HEALTHY = 0.01
MISS_FAULTY = 0.5
_MISS = MISS_FAULTY / MISS_HEALTHY
_HIT = (1 - MISS_FAULTY) / (1 - MISS_HEALTHY)
_CEILING = 1e280


class BeatTest:
    """The bet against one device's heartbeats.

    Args:
        planned: beats that are expected until the rollout ends; more may come, at smaller stakes.
        threshold: wealth at which the silence is no accident.

    Attributes:
        value: the wealth now.
        beats: beats observed, answered and missed.
        missed: those that were missed.
        retries: requests that had to be repeated; shown, never hidden.
    """

    __slots__ = ("_onset", "_sum", "beats", "missed", "peak", "retries", "threshold")

    def __init__(self, planned: int, threshold: float) -> None:
        planned = max(2, planned)
        self._onset = Onset(planned, first=0.9 / planned, planned=0.9 * (planned - 1) / planned)
        self.threshold = threshold
        self._sum = self.peak = 0.0
        self.beats = self.missed = self.retries = 0

    @property
    def value(self) -> float:
        """The wealth now, without the stake that is not yet in."""
        return self._sum

    @property
    def alarmed(self) -> bool:
        """The bet was won at some beat."""
        return self.peak >= self.threshold

    def observe(self, *, answered: bool, retries: int = 0) -> None:
        """Take the next planned beat."""
        self.beats += 1
        self.missed += not answered
        self.retries += retries
        stake = self._onset.share(self.beats)
        self._sum = min((self._sum + stake) * (_HIT if answered else _MISS), _CEILING)
        self.peak = max(self.peak, self._sum)

    def misses_in_a_row(self) -> int:
        """How many misses in a row would raise the alarm, now."""
        wealth, count = self._sum, 0
        while wealth < self.threshold:
            count += 1
            wealth = (wealth + self._onset.share(self.beats + count)) * _MISS
        return count

    def words(self) -> str:
        """The evidence in one sentence."""
        return (
            f"{self.missed} of {self.beats} heartbeats missed, {self.retries} retries: a 1-unit "
            f"bet against the device's answers stands at {figure(self._sum)}, alarm at "
            f"{figure(self.threshold)}"
        )

    def state(self) -> dict[str, Any]:
        """Plain JSON for `restore`."""
        return {"sum": self._sum, "peak": self.peak, "beats": self.beats,
                "missed": self.missed, "retries": self.retries}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._sum, self.peak = state["sum"], state["peak"]
        self.beats, self.missed, self.retries = (
            state["beats"], state["missed"], state["retries"],
        )  # fmt: skip
