"""One metric of one device: the baseline before, the bets after, the finding.

A stream rolls back when a bet against the firmware is won, at whatever sample that is. It passes
at a planned look when "worse by `reject` or more" is rejected at the level beta: by a bet of its
own, or by a rank-sum test at the look. Everything else is undecided, and undecided never passes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from cryofw.health.blocks import choose_length
from cryofw.health.bound import BoundTest, bound_of
from cryofw.health.contract import Method
from cryofw.health.excursion import Excursion
from cryofw.health.noise import NoiseTest
from cryofw.health.ranksum import lower_p
from cryofw.health.rule import StreamRule, fine_threshold, look_level
from cryofw.health.shift import ShiftTest, usable
from cryofw.health.tmixture import TMixture

if TYPE_CHECKING:
    from collections.abc import Mapping

_MORE = 1.25  # blocks at the next look, over those at the last


class CalibrationStream:
    """Feed it samples on the planned grid; late, repeated and unusable ones change nothing.

    Args:
        rule: the frozen rule.
        seed: breaks ties; from the plan's digest and the stream's name.
        controls: names of the devices whose mean was taken off each sample.
    """

    __slots__ = (
        "_base", "_excursion", "_next_look", "_raw", "_raws", "_seed", "_sign", "_slot", "_total",
        "bound", "controls", "count", "looks", "noise_test", "p_fine", "rule", "shift", "tmixture",
    )  # fmt: skip

    def __init__(self, rule: StreamRule, seed: bytes, controls: tuple[str, ...] = ()) -> None:
        self.rule = rule
        self.controls = controls
        self._seed = seed
        self._sign = rule.metric.harm(1.0)
        self._base: deque[float] = deque(maxlen=rule.baseline_samples)
        self._slot: int | None = None
        self.shift: ShiftTest | None = None
        self.noise_test: NoiseTest | None = None
        self.tmixture: TMixture | None = None
        self._excursion = Excursion(math.inf)
        bound = bound_of(rule.metric, rule.golden)
        self.bound = None if bound is None else BoundTest(bound, rule.planned_samples)
        self.count = 0
        self._total = self._raw = 0.0
        self._raws = 0
        self.looks = self._next_look = 0
        self.p_fine = 1.0

    # --- samples ------------------------------------------------------------------------

    def baseline(self, slot: int, value: float) -> None:
        """Take a sample from before the update.

        Args:
            slot: its place on the planned grid; one that is not after the last is ignored.
            value: in the metric's unit, less the controls' mean if there are any.
        """
        if self.shift is None and self._is_next(slot) and usable(value):
            self._slot = slot
            self._base.append(self._sign * value)

    def freeze(self, shared: int = 1) -> None:
        """The device is about to be touched: fix block length and ranks; a second call is void.

        Args:
            shared: block length that the wave asks for (`shared_length`).
        """
        if self.shift is not None:
            return
        ready = len(self._base) >= max(2, self.rule.baseline_samples)
        self._arm(choose_length(list(self._base), shared) if ready else 0)

    def _arm(self, length: int) -> None:
        rule = self.rule
        base = list(self._base)
        if base:
            self._excursion = Excursion(math.fsum(base) / len(base) + rule.metric.margin)
        questions = ((rule.metric.margin, 1), (rule.metric.reject, -1))
        planned = rule.planned_samples
        self.shift = ShiftTest(base, questions, planned, self._seed, length)
        if length and rule.noise_threshold < math.inf:
            self.noise_test = NoiseTest(base, length, planned, self._seed + b"/noise")
        if length and rule.method is Method.T_MIXTURE:
            self.tmixture = TMixture(self.shift.base_blocks, rule.metric.margin)

    def observe(self, slot: int, value: float, raw: float | None = None) -> None:
        """Take a sample from after the update.

        Args:
            slot: its place on the planned grid; one that is not after the last is ignored.
            value: in the metric's unit, less the controls' mean if there are any; NaN if that
                is not known.
            raw: the value itself, for the absolute bound, which needs no controls; None: the same.
        """
        raw = value if raw is None else raw
        if not self._is_next(slot) or not (usable(value) or usable(raw)):
            return
        if self.shift is None:
            self.freeze()
        assert self.shift is not None
        self._slot = slot
        if usable(raw):
            self._observe_bound(self._sign * raw, max(1, self.shift.length))
        if not usable(value):
            return
        harm = self._sign * value
        self.count += 1
        self._total += harm
        self._excursion.observe(harm)
        if self.noise_test is not None:
            self.noise_test.observe(harm)
        if self.shift.observe(harm) and self.tmixture is not None:
            self.tmixture.observe(self.shift.last)

    def _observe_bound(self, harm: float, length: int) -> None:
        if self.bound is None:
            return
        self._raw += harm
        self._raws += 1
        if self._raws >= length:
            self.bound.observe(self._raw / self._raws)
            self._raw, self._raws = 0.0, 0

    def _is_next(self, slot: int) -> bool:
        return self._slot is None or slot > self._slot

    def look(self) -> None:
        """The soak is complete: take the planned look; early repetitions change nothing.

        The first look spends 3/4 of the looks' part of beta, each later one 3/4 of what is left,
        and is due when a quarter more blocks came.
        """
        shift = self.shift
        if shift is None or self.count < self.rule.min_samples:
            return
        blocks = len(shift.blocks)
        if blocks < max(1, self._next_look):
            return
        self.looks += 1
        self._next_look = max(blocks + 1, math.ceil(blocks * _MORE))
        self.p_fine = lower_p(shift.blocks, sorted(shift.base_blocks), self.rule.metric.reject)

    # --- what it says -------------------------------------------------------------------

    @property
    def baseline_count(self) -> int:
        """Baseline samples in use."""
        return len(self._base)

    @property
    def noise(self) -> float:
        """Standard deviation of the baseline samples; 0 before there are two."""
        if len(self._base) < 2:
            return 0.0
        mean = math.fsum(self._base) / len(self._base)
        return math.sqrt(math.fsum((v - mean) ** 2 for v in self._base) / (len(self._base) - 1))

    @property
    def e_value(self) -> float:
        """Wealth of the bet on a shift, now."""
        if self.tmixture is not None:
            return self.tmixture.value
        return self.shift.wagers[0].value if self.shift else 1.0

    @property
    def e_peak(self) -> float:
        """The highest that wealth ever was."""
        if self.tmixture is not None:
            return self.tmixture.peak
        return self.shift.wagers[0].peak if self.shift else 1.0

    @property
    def regressed(self) -> str:
        """Which bet against the firmware was won: shift, noise, bound; empty for none."""
        rule = self.rule
        if self.shift is None:
            return ""
        if self.e_peak >= rule.shift_threshold:
            return "shift"
        if self.noise_test is not None and self.noise_test.peak >= rule.noise_threshold:
            return "noise"
        if self.bound is not None and self.bound.peak >= rule.bound_threshold:
            return "bound"
        return ""

    @property
    def excludes_reject(self) -> bool:
        """Worse by `reject` or more is rejected at the level beta."""
        if self.shift is None:
            return False
        beta = self.rule.beta
        won = self.shift.wagers[1].peak >= fine_threshold(beta)
        return won or (self.looks > 0 and self.p_fine <= look_level(beta, self.looks))

    @property
    def before(self) -> float:
        """Mean of the baseline in the metric's unit; NaN without one."""
        return self._sign * math.fsum(self._base) / len(self._base) if self._base else math.nan

    @property
    def after(self) -> float:
        """Mean since the update in the metric's unit; NaN before the first sample."""
        return self._sign * self._total / self.count if self.count else math.nan

    @property
    def beyond(self) -> tuple[int, float]:
        """The latest samples that are beyond the margin on average, and their mean.

        An estimate for words, in the metric's unit: it says since when a shift has been there.
        All samples and their mean where nothing stands beyond it.
        """
        count = self._excursion.count
        return (count, self._sign * self._excursion.mean) if count else (self.count, self.after)

    # --- resume -------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain JSON from which `restore` goes on exactly, given the same rule and seed."""
        return {
            "base": list(self._base),
            "block": self.shift.length if self.shift else None,
            "slot": self._slot,
            "count": self.count,
            "total": self._total,
            "beyond": self._excursion.state(),
            "raw": [self._raw, self._raws],
            "looks": [self.looks, self._next_look, self.p_fine],
            "shift": self.shift.state() if self.shift else None,
            "noise": self.noise_test.state() if self.noise_test else None,
            "bound": self.bound.state() if self.bound else None,
            "tmixture": self.tmixture.state() if self.tmixture else None,
        }

    @classmethod
    def restore(
        cls, rule: StreamRule, seed: bytes, controls: tuple[str, ...], state: Mapping[str, Any]
    ) -> CalibrationStream:
        """The stream as it was when `state` was taken."""
        stream = cls(rule, seed, controls)
        stream._base.extend(state["base"])
        if state["block"] is not None:
            stream._arm(state["block"])
        stream._slot, stream.count = state["slot"], state["count"]
        stream._total = state["total"]
        stream._excursion.restore(state["beyond"])
        stream._raw, stream._raws = state["raw"]
        stream.looks, stream._next_look, stream.p_fine = state["looks"]
        for part, saved in (
            (stream.shift, state["shift"]),
            (stream.noise_test, state["noise"]),
            (stream.bound, state["bound"]),
            (stream.tmixture, state["tmixture"]),
        ):
            if part is not None and saved is not None:
                part.restore(saved)
        return stream
