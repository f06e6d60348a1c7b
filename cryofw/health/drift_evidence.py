"""An e-detector for slow drift, with a stated rate of false alarms.

Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection"
(arXiv 2203.03532): bets against "nothing has changed" are begun at every moment and added up, as
Shiryaev and Roberts did with likelihood ratios. Here each bet is on the rank of a new block among
all before it (`ranks.py`), which is uniform for any noise, however heavy its tails.

What is promised. A block that covers w days brings w units of fresh stake, so while the blocks are
exchangeable the sum S of all bets less the days judged is a martingale, and for any stopping time
T: E[S at T] = E[days judged until T]. An alarm at S >= N therefore comes, on average, not before N
days (average run length), and within D judged days with probability D/N at most; over several
series the expected number of alarms is at most their judged days together over N, whatever the
dependence between them. No Gaussian, no variance, no number of looks enters.

Not promised: anything about noise that is not exchangeable in blocks, such as one that grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.health.ranks import RankBook
from cryofw.health.tiebreak import TieBreaker
from cryofw.health.wager import POWERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_CEILING = 1e280  # evidence this large has decided; it stops, so that no product overflows


class DriftDetector:
    """The bets on one series, upwards and downwards.

    Args:
        baseline: block values from before, in any order.
        stake_days: days that a block covers: the fresh stake it brings.
        seed: breaks ties; names the series.

    Attributes:
        evidence: sum of all bets, in days.
        up: whether the bets on "higher" hold more than half of it.
    """

    __slots__ = ("_book", "_downs", "_stake", "_ties", "_ups", "evidence", "up")

    def __init__(self, baseline: Sequence[float], stake_days: float, seed: bytes) -> None:
        self._book = RankBook(baseline)
        self._ties = TieBreaker(seed)
        self._stake = stake_days
        self._ups = [0.0] * len(POWERS)
        self._downs = [0.0] * len(POWERS)
        self.evidence = 0.0
        self.up = True

    def observe(self, value: float) -> float:
        """Take the next block; return the evidence in days."""
        uniform = self._ties.uniform(self._book.count)
        (share,) = self._book.place(value, (0.0,), uniform)
        self._ups = [self._bet(old, k, share) for old, k in zip(self._ups, POWERS, strict=True)]
        rest = 1.0 - share
        self._downs = [self._bet(old, k, rest) for old, k in zip(self._downs, POWERS, strict=True)]
        up, down = sum(self._ups), sum(self._downs)
        self.up = up >= down
        # Their mean: each of the ten keeps the promise, so their mean does.
        self.evidence = (up + down) / (2 * len(POWERS))
        return self.evidence

    def _bet(self, old: float, power: float, share: float) -> float:
        return min(_CEILING, float((old + self._stake) * power * share ** (power - 1)))


@dataclass(frozen=True, slots=True)
class Course:
    """What a detector said over a series.

    Attributes:
        evidence: the most it reached, in days.
        now: at the end.
        alarm: index in the series of the block that reached the threshold; None: none did.
        up: direction of the alarm, or at the end.
    """

    evidence: float
    now: float
    alarm: int | None
    up: bool


def follow(
    values: Sequence[float], baseline: int, stake_days: float, one_in_days: float, seed: bytes
) -> Course:
    """Run a detector over block values in time order, of which the first `baseline` are that."""
    detector = DriftDetector(values[:baseline], stake_days, seed)
    peak, alarm, up = 0.0, None, True
    for index in range(baseline, len(values)):
        peak = max(peak, detector.observe(values[index]))
        if alarm is None:
            up = detector.up
            if detector.evidence >= one_in_days:
                alarm = index
    return Course(peak, detector.evidence, alarm, up)
