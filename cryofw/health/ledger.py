"""One alpha for a whole rollout: which stream may spend how much of `false_rollback`.

The parts of all streams over all attempts sum to `false_rollback`, so by Ville's inequality and
the union bound the probability that a rollout of a firmware that is no worse ever rolls back is
at most that, whatever the dependence between the streams.

A new attempt refunds nothing. Each stream's part is divided over its attempts beforehand:
3/4 for the first, 3/16 for the second, and so on, without a last one. Pre-allotment, not carried
wealth: a bet that lost its money on a healthy first attempt would be blind in the second.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AGAIN = 0.25  # what each attempt leaves to the later ones


class StreamKind(StrEnum):
    """What a stream watches; each kind has its share of alpha."""

    SHIFT = "shift"
    POOLED = "pooled"
    NOISE = "noise"
    BOUND = "bound"
    HEARTBEAT = "heartbeat"


# Shares of alpha; those of kinds without a stream go to the others in proportion.
SHARES: Mapping[StreamKind, float] = {
    StreamKind.SHIFT: 0.55,
    StreamKind.POOLED: 0.15,
    StreamKind.NOISE: 0.15,
    StreamKind.BOUND: 0.05,
    StreamKind.HEARTBEAT: 0.10,
}


@dataclass(frozen=True, slots=True)
class AlphaLedger:
    """The budget, frozen in the plan.

    Attributes:
        false_rollback: probability of a false rollback over the whole rollout.
        streams: number of streams of each kind.
        alpha: what one stream of each kind may spend over all of its attempts.
    """

    false_rollback: float
    streams: dict[str, int]
    alpha: dict[str, float]

    @classmethod
    def open(cls, false_rollback: float, streams: Iterable[StreamKind]) -> AlphaLedger:
        """The ledger for one entry of `streams` a stream.

        Raises:
            ValueError: `false_rollback` is not within 0 and 1.
        """
        if not 0 < false_rollback < 1:
            msg = f"false_rollback must lie between 0 and 1, not {false_rollback:g}"
            raise ValueError(msg)
        counts = Counter(streams)
        total = sum(SHARES[kind] for kind in counts)
        alpha = {
            kind.value: false_rollback * SHARES[kind] / total / count
            for kind, count in sorted(counts.items())
        }
        return cls(false_rollback, {k.value: n for k, n in sorted(counts.items())}, alpha)

    def spends(self, kind: StreamKind, attempt: int = 1) -> float:
        """Probability of a false alarm that one stream of `kind` spends on `attempt` (from 1).

        Raises:
            KeyError: the plan has no stream of this kind.
        """
        return self.alpha[kind.value] * (1 - _AGAIN) * _AGAIN ** (attempt - 1)

    def threshold(self, kind: StreamKind, attempt: int = 1) -> float:
        """Wealth at which the bet of one stream of `kind` is won: one over what it spends."""
        return 1 / self.spends(kind, attempt)

    def total(self, attempts: int) -> float:
        """What all streams spend when each makes `attempts` attempts; below `false_rollback`."""
        return sum(
            count * self.spends(StreamKind(kind), attempt)
            for kind, count in self.streams.items()
            for attempt in range(1, attempts + 1)
        )
