"""One metric of one device: the baseline before, the bets after, the finding.

A stream rolls back when a bet against the firmware is won, at whatever sample that is. It passes
at a planned look when "worse by `reject` or more" is rejected at the level beta: by a bet of its
own, or by a rank-sum test at the look. Everything else is undecided, and undecided never passes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cryofw.health.blocks import choose_length
from cryofw.health.bound import BoundTest, bound_of
from cryofw.health.judge import MetricFinding, Shift
from cryofw.health.noise import TOLERATED, NoiseTest
from cryofw.health.ranksum import lower_p
from cryofw.health.shift import ShiftTest, usable
from cryofw.health.tmixture import TMixture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.contract import MetricContract

BETA = 0.05
_BET_PART = 0.2  # of beta goes to the bet on "fine", the rest to the looks
_FIRST_LOOK = 0.75  # of what is left for looks
_SUSPECT = 0.1  # of the threshold: a bet that stands so high forbids to pass
_MORE = 1.25  # blocks at the next look, over those at the last


class Method(StrEnum):
    """How a shift is judged."""

    RANKS = "conformal-ranks"
    T_MIXTURE = "t-mixture"


@dataclass(frozen=True, slots=True)
class StreamRule:
    """What is frozen about a stream before its first look.

    Attributes:
        baseline_samples: fresh samples needed from before the update; the latest so many count.
        min_samples: fresh samples after it below which nothing passes.
        planned_samples: samples expected in the soak.
        shift_threshold: wealth at which the bet on a shift is won; from the ledger.
        noise_threshold: the same for grown noise; infinite: not judged.
        bound_threshold: the same for the absolute bound.
        golden: mean of the golden baseline in the metric's unit; None without one.
        beta: probability to pass a metric that is worse by `reject`.
    """

    metric: MetricContract
    baseline_samples: int
    min_samples: int
    planned_samples: int
    shift_threshold: float
    noise_threshold: float = math.inf
    bound_threshold: float = math.inf
    golden: float | None = None
    beta: float = BETA
    method: Method = Method.RANKS


class CalibrationStream:
    """Feed it samples on the planned grid; late, repeated and unusable ones change nothing.

    Args:
        rule: the frozen rule.
        seed: breaks ties; from the plan's digest and the stream's name.
        controls: names of the devices whose mean was taken off each sample.
    """

    __slots__ = (
        "_base", "_bound", "_looks", "_next_look", "_noise", "_p", "_raw", "_seed", "_sign",
        "_slot", "_tmixture", "_total", "controls", "count", "rule", "shift",
    )  # fmt: skip

    def __init__(self, rule: StreamRule, seed: bytes, controls: tuple[str, ...] = ()) -> None:
        self.rule = rule
        self.controls = controls
        self._seed = seed
        self._sign = rule.metric.harm(1.0)
        self._base: deque[float] = deque(maxlen=rule.baseline_samples)
        self._slot: int | None = None
        self.shift: ShiftTest | None = None
        self._noise: NoiseTest | None = None
        self._tmixture: TMixture | None = None
        bound = bound_of(rule.metric, rule.golden)
        self._bound = None if bound is None else BoundTest(bound)
        self.count = 0
        self._total = self._raw = 0.0
        self._looks = self._next_look = 0
        self._p = 1.0

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
        questions = ((rule.metric.margin, 1), (rule.metric.reject, -1))
        planned = rule.planned_samples
        self.shift = ShiftTest(base, questions, planned, self._seed, length)
        if length and rule.noise_threshold < math.inf:
            self._noise = NoiseTest(base, length, planned, self._seed + b"/noise")
        if length and rule.method is Method.T_MIXTURE:
            self._tmixture = TMixture(self.shift.base_blocks, rule.metric.margin)

    def observe(self, slot: int, value: float, raw: float | None = None) -> None:
        """Take a sample from after the update.

        Args:
            slot: its place on the planned grid; one that is not after the last is ignored.
            value: in the metric's unit, less the controls' mean if there are any.
            raw: the value itself, for the absolute bound; None: the same.
        """
        if not self._is_next(slot) or not usable(value):
            return
        if self.shift is None:
            self.freeze()
        assert self.shift is not None
        self._slot = slot
        harm = self._sign * value
        self.count += 1
        self._total += harm
        self._raw += harm if raw is None else self._sign * raw
        if self._noise is not None:
            self._noise.observe(harm)
        if self.shift.observe(harm):
            if self._bound is not None:
                self._bound.observe(self._raw / self.shift.length)
            self._raw = 0.0
            if self._tmixture is not None:
                self._tmixture.observe(self.shift.last)

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
        self._looks += 1
        self._next_look = max(blocks + 1, math.ceil(blocks * _MORE))
        self._p = lower_p(shift.blocks, sorted(shift.base_blocks), self.rule.metric.reject)

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
        if self._tmixture is not None:
            return self._tmixture.value
        return self.shift.wagers[0].value if self.shift else 1.0

    @property
    def regressed(self) -> str:
        """Which bet against the firmware was won: shift, noise, bound; empty for none."""
        rule = self.rule
        if self.shift is None:
            return ""
        peak = self.shift.wagers[0].peak if self._tmixture is None else self._tmixture.peak
        if peak >= rule.shift_threshold:
            return "shift"
        if self._noise is not None and self._noise.peak >= rule.noise_threshold:
            return "noise"
        if self._bound is not None and self._bound.peak >= rule.bound_threshold:
            return "bound"
        return ""

    @property
    def open_reason(self) -> str:
        """Why it may not pass yet; empty when it may."""
        rule, shift = self.rule, self.shift
        if len(self._base) < max(2, rule.baseline_samples):
            return f"only {len(self._base)} of {rule.baseline_samples} baseline samples"
        if shift is None or self.count < rule.min_samples:
            return f"only {self.count} of {rule.min_samples} samples"
        if not shift.length:
            return "the baseline's noise is too slow for its length: take a longer baseline"
        if self.e_value >= _SUSPECT * rule.shift_threshold:
            return f"a bet against the firmware stands at {self.e_value:.3g}: more samples decide"
        if not self._excludes_reject():
            return f"{self._words()} does not exclude {rule.metric.reject:g} worse"
        if self._bound is not None and self._bound.within < 1 / rule.beta:
            return "it is not shown to lie within its absolute bound"
        return ""

    def _excludes_reject(self) -> bool:
        shift = self.shift
        assert shift is not None
        level = look_level(self.rule.beta, max(1, self._looks))
        return shift.wagers[1].peak >= fine_threshold(self.rule.beta) or self._p <= level

    def finding(self) -> MetricFinding:
        """What the samples so far say, with the numbers."""
        name = self.rule.metric.name
        if lost := self.regressed:
            return MetricFinding(name, Shift.REGRESSED, self._alarm(lost), self.evidence())
        if reason := self.open_reason:
            return MetricFinding(name, Shift.UNDECIDED, f"{name}: {reason}", self.evidence())
        reason = f"{self._words()} excludes {self.rule.metric.reject:g} worse"
        return MetricFinding(name, Shift.FINE, reason, self.evidence())

    def _alarm(self, lost: str) -> str:
        rule, metric = self.rule, self.rule.metric
        if lost == "noise":
            assert self._noise is not None
            what = f"the noise of {metric.name} is {self._noise.ratio or 0:.2g} times what it was"
            return f"{what}; {bet_words(self._noise.peak, rule.noise_threshold)}"
        if lost == "bound":
            assert self._bound is not None
            bound = bound_of(metric, rule.golden) or 0.0
            what = (
                f"{metric.name} lies beyond {metric.harm(bound):g} {metric.unit} in "
                f"{self._bound.outside} of {self._bound.blocks} blocks"
            )
            return f"{what}; {bet_words(self._bound.peak, rule.bound_threshold)}"
        won = self.e_value if self._tmixture is not None else self._shift_peak()
        what = f"{self._words()} passes the margin {metric.margin:g}"
        return f"{what}; {bet_words(won, rule.shift_threshold)}"

    def _shift_peak(self) -> float:
        return self.shift.wagers[0].peak if self.shift else 1.0

    def _means(self) -> tuple[float, float]:
        base = math.fsum(self._base) / len(self._base) if self._base else math.nan
        return base, self._total / self.count if self.count else math.nan

    def _words(self) -> str:
        metric = self.rule.metric
        before, after = (metric.harm(v) for v in self._means())
        against = f" against {', '.join(self.controls)}" if self.controls else ""
        return (
            f"{metric.name} {after - before:+.3g} {metric.unit}{against} "
            f"({before:.4g} -> {after:.4g}, n={self.count})"
        )

    def evidence(self) -> dict[str, object]:
        """The numbers, plain JSON."""
        rule, metric, shift = self.rule, self.rule.metric, self.shift
        before, after = (metric.harm(v) for v in self._means())
        numbers: dict[str, object] = {
            "rule": rule.method.value,
            "unit": metric.unit,
            "before": _round(before),
            "after": _round(after),
            "sd": _round(self.noise),
            "n_before": len(self._base),
            "n_after": self.count,
            "margin": metric.margin,
            "reject": metric.reject,
            "limit": metric.limit,
            "controls": list(self.controls),
            "e": _round(self.e_value),
            "e_needed": _round(rule.shift_threshold),
        }
        if shift is not None:
            numbers["block"] = shift.length
            numbers["blocks_before"] = len(shift.base_blocks)
            numbers["blocks_after"] = len(shift.blocks)
            numbers["e_fine"] = _round(shift.wagers[1].peak)
            numbers["e_fine_needed"] = _round(fine_threshold(rule.beta))
        if self._looks:
            numbers["p_fine"] = _round(self._p)
            numbers["p_fine_needed"] = _round(look_level(rule.beta, self._looks))
        if self._noise is not None:
            numbers["noise_ratio"] = _round(self._noise.ratio)
            numbers["noise_tolerated"] = TOLERATED
            numbers["noise_e"] = _round(self._noise.peak)
            numbers["noise_e_needed"] = _round(rule.noise_threshold)
        if self._bound is not None:
            numbers["golden"] = rule.golden
            numbers["beyond_bound"] = [self._bound.outside, self._bound.blocks]
            numbers["bound_e"] = _round(self._bound.peak)
            numbers["bound_e_needed"] = _round(rule.bound_threshold)
        return numbers

    # --- resume -------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain JSON from which `restore` goes on exactly, given the same rule and seed."""
        return {
            "base": list(self._base),
            "block": self.shift.length if self.shift else None,
            "slot": self._slot,
            "count": self.count,
            "total": self._total,
            "raw": self._raw,
            "looks": [self._looks, self._next_look, self._p],
            "shift": self.shift.state() if self.shift else None,
            "noise": self._noise.state() if self._noise else None,
            "bound": self._bound.state() if self._bound else None,
            "tmixture": self._tmixture.state() if self._tmixture else None,
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
        stream._total, stream._raw = state["total"], state["raw"]
        stream._looks, stream._next_look, stream._p = state["looks"]
        for part, saved in (
            (stream.shift, state["shift"]),
            (stream._noise, state["noise"]),
            (stream._bound, state["bound"]),
            (stream._tmixture, state["tmixture"]),
        ):
            if part is not None and saved is not None:
                part.restore(saved)
        return stream


def fine_threshold(beta: float) -> float:
    """Wealth at which the bet on "not worse by reject" is won."""
    return 1 / (beta * _BET_PART)


def look_level(beta: float, look: int) -> float:
    """P-value at which planned look `look` (from 1) says "not worse by reject"; sums below beta."""
    return beta * (1 - _BET_PART) * _FIRST_LOOK * (1 - _FIRST_LOOK) ** (look - 1)


def bet_words(won: float, threshold: float) -> str:
    """What an e-value means, for an engineer."""
    return (
        f"a 1-unit bet against the firmware grew to {min(won, 1e9):.4g} units; were the firmware "
        f"fine, it would ever reach {threshold:.4g} with probability {1 / threshold:.2g} at most"
    )


def _round(value: float | None) -> float | None:
    """Six digits; what is not finite is null in JSON."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
