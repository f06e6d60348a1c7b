"""A unit bet against "nothing is wrong": the wealth is the evidence.

Each look brings a share u, uniform on (0, 1) while the hypothesis holds. The bet pays
k u^(k-1), the mean of which is 1 then, for k in {1.5, 2, 3, 5, 9}: small k win on small shifts,
large k on large ones. Their mean, mixed over the time of onset, is a test martingale: by Ville's
inequality it ever reaches 1/alpha with probability at most alpha, however often one looks
(Vovk, Nouretdinov, Gammerman, ICML 2003, conformal test martingales; Shafer et al. 2011).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.health.onset import Onset

POWERS = (1.5, 2.0, 3.0, 5.0, 9.0)
_CEILING = 1e280  # a bet this rich has decided; it stops, so that no product overflows


class Wager:
    """The wealth of one stream's bet.

    The five products are kept as they are, not as logarithms: each look adds a positive share of
    new stake, so none of them dwindles away, and they stop growing at a ceiling.

    Args:
        onset: when which share of the unit enters.
    """

    __slots__ = ("_bets", "_left", "_onset", "looks", "peak", "value")

    def __init__(self, onset: Onset) -> None:
        self._onset = onset
        self._bets = [0.0] * len(POWERS)
        self._left = 1.0
        self.looks = 0
        self.value = 1.0
        self.peak = 1.0

    def pay(self, share: float) -> float:
        """Take the next share; near 1 is what the bet is on. Return the wealth."""
        self.looks += 1
        if self.value > _CEILING:
            return self.value
        new = self._onset.share(self.looks)
        self._left -= new
        root, square = math.sqrt(share), share * share
        fourth = square * square
        one, two, three, four, five = self._bets
        one = (one + new) * 1.5 * root
        two = (two + new) * 2.0 * share
        three = (three + new) * 3.0 * square
        four = (four + new) * 5.0 * fourth
        five = (five + new) * 9.0 * fourth * fourth
        self._bets = [one, two, three, four, five]
        self.value = value = 0.2 * (one + two + three + four + five) + self._left
        if value > self.peak:
            self.peak = value
        return value

    def state(self) -> dict[str, object]:
        """Plain JSON from which `restore` goes on exactly."""
        return {"bets": self._bets, "left": self._left, "looks": self.looks,
                "value": self.value, "peak": self.peak}  # fmt: skip

    def restore(
        self, bets: Sequence[float], left: float, looks: int, value: float, peak: float
    ) -> None:
        """Go on from what `state` returned."""
        self._bets, self._left = list(bets), left
        self.looks, self.value, self.peak = looks, value, peak
