"""The pooled stream of a wave: a shift too small for one device is still found on ten.

Member i's sample k is its k-th grid slot since its own update, less its own baseline's mean; the
pool's sample k is the mean over the members that have one, if four in five do, without the highest
and the lowest: what one device has alone is for its own stream to find, and not to be held against
the others. (Of two, the better one counts.) Baseline and soak are treated alike, and a mean that is
trimmed on both sides has no bias, so the ranks stay exchangeable. A sample is complete when every
member is past it, so the slowest sets the pace, and the order in which members report changes
nothing. Words and numbers are of the whole mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.health.blocks import choose_length
from cryofw.health.excursion import Excursion
from cryofw.health.finding import MetricFinding, Shift, bet_words
from cryofw.health.shift import ShiftTest, usable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.health.contract import MetricContract

_QUORUM = 0.8
MOST_NAMED = 200
"""A pool of more members says only how many they are: a record of a journal is at most 64 KiB."""


class Pool:
    """One metric over the devices of a wave.

    Args:
        metric: the contract.
        baselines: member name to its baseline samples by grid slot, less the controls' mean.
        planned: samples expected in the soak.
        threshold: wealth at which the bet against the firmware is won; from the ledger.
        seed: breaks ties; names the wave and the metric.
        shared: block length that the wave asks for.
    """

    __slots__ = (
        "_at", "_centres", "_done", "_excursion", "_members", "_open", "_sign", "_standing",
        "_total", "count", "metric", "need", "test", "threshold",
    )  # fmt: skip

    def __init__(
        self,
        metric: MetricContract,
        baselines: Mapping[str, Mapping[int, float]],
        planned: int,
        threshold: float,
        seed: bytes,
        shared: int = 1,
    ) -> None:
        self.metric, self.threshold = metric, threshold
        self._sign = metric.harm(1.0)
        self.need = max(1, math.ceil(_QUORUM * len(baselines)))
        self._centres = {
            name: math.fsum(values.values()) / len(values) if values else math.nan
            for name, values in baselines.items()
        }
        slots = sorted({slot for values in baselines.values() for slot in values})
        rows = (
            [v[slot] - self._centres[name] for name, v in baselines.items() if slot in v]
            for slot in slots
        )
        base = [level for row in rows if (level := self._level(row)) is not None]
        length = choose_length(base, shared)
        self.test = ShiftTest(base, ((metric.margin, 1),), planned, seed, length)
        self._at = dict.fromkeys(baselines, -1)
        self._standing = {-1: len(baselines)}
        self._members = len(baselines) if len(baselines) > MOST_NAMED else sorted(baselines)
        self._done = -1
        self._open: dict[int, list[float]] = {}
        self._total, self.count = 0.0, 0
        # Of the shift alone: the baselines' own means are off already.
        self._excursion = Excursion(metric.margin)

    def _level(self, row: Sequence[float]) -> float | None:
        if len(row) < self.need:
            return None
        harms = sorted(self._sign * value for value in row)
        kept = harms[1:-1] if len(harms) > 2 else harms[:1]
        return math.fsum(kept) / len(kept)

    def observe(self, member: str, index: int, value: float) -> None:
        """Take a member's sample.

        Args:
            member: its name.
            index: grid slots since its own update, from 0; one that is not after the member's
                last changes nothing.
            value: less the controls' mean; NaN when the slot is known to be missing.

        Raises:
            KeyError: `member` is not in the pool.
        """
        if index <= self._at[member] or index <= self._done:
            return
        self._standing[index] = self._standing.get(index, 0) + 1
        self._leave(self._at[member])
        self._at[member] = index
        if usable(value):
            self._open.setdefault(index, []).append(value - self._centres[member])
        self._advance()

    def waits_for(self, member: str) -> bool:
        """`member` is in the pool and was not dropped."""
        return member in self._at

    def drop(self, member: str) -> None:
        """A member is taken back or gone: nobody waits for it any more."""
        if member in self._at:
            self._leave(self._at.pop(member))
            self._advance()

    def _leave(self, index: int) -> None:
        """One member less stands at its sample `index`."""
        self._standing[index] -= 1
        if not self._standing[index]:
            del self._standing[index]

    def _advance(self) -> None:
        # Members stand at a few different samples, however many they are.
        done = min(self._standing, default=self._done)
        for index in range(self._done + 1, done + 1):
            row = self._open.pop(index, [])
            level = self._level(row)
            if level is not None:
                mean = self._sign * math.fsum(row) / len(row)
                self.count += 1
                self._total += mean
                self._excursion.observe(mean)
                self.test.observe(level)
        self._done = max(done, self._done)

    @property
    def regressed(self) -> bool:
        """The bet against the firmware was won."""
        return self.test.wagers[0].peak >= self.threshold

    def finding(self) -> MetricFinding:
        """Regressed, or undecided: a pool passes nothing, it only finds."""
        if self.regressed:
            metric, run = self.metric, self._excursion
            words = self._words(run.mean, run.count) if run.count else self._words()
            bet = bet_words(self.test.wagers[0].peak, self.threshold)
            reason = f"{words} is beyond the margin {metric.margin:g} {metric.unit}; {bet}"
            return MetricFinding(metric.name, Shift.REGRESSED, reason, self.evidence())
        return MetricFinding(self.metric.name, Shift.UNDECIDED, self._words(), self.evidence())

    def _words(self, level: float | None = None, count: int = 0) -> str:
        metric, members = self.metric, len(self._centres)
        if level is None:
            level, count = self._total / self.count if self.count else 0.0, self.count
        of = f"n={count}" if count == self.count else f"last {count} of {self.count} samples"
        shift = metric.harm(level)
        return f"{metric.name} {shift:+.3g} {metric.unit} over {members} devices ({of})"

    def evidence(self) -> dict[str, object]:
        """The numbers, plain JSON; members by name, or how many they are if they are many."""
        return {
            "members": self._members,
            "quorum": self.need,
            "n_after": self.count,
            "shift": float(f"{self._total / self.count:.6g}") if self.count else None,
            "margin": self.metric.margin,
            "block": self.test.length,
            "e": float(f"{self.test.wagers[0].peak:.6g}"),
            "e_needed": float(f"{self.threshold:.6g}"),
        }
