"""Did calibration get worse? The interface of every judge, and the interim one.

`ShiftJudge` compares the mean after the update with the device's own baseline:

- Regressed: over all samples since the update, or over the latest `min_samples`, the mean is
  worse than the baseline by more than `margin` plus four standard errors, with at least five
  samples; or it passed the absolute limit by the same token.
- Fine: with `min_samples` or more, in both windows, the mean plus two standard errors lies
  within `reject` of the baseline (and within the limit).
- Undecided: anything else.

It bounds no probability over repeated looks: the always-valid test replaces it behind `Judge`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.health.contract import MetricContract

_REGRESSED_ERRORS = 4.0
_FINE_ERRORS = 2.0
_MIN_LOOK = 5


class Shift(StrEnum):
    """What one metric says."""

    FINE = "fine"
    REGRESSED = "regressed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class MetricFinding:
    """One metric's finding with its numbers (plain JSON) and one sentence."""

    metric: str
    shift: Shift
    reason: str
    evidence: Mapping[str, object]


class Judge(Protocol):
    """Judges one metric of one device; fed fresh values in the metric's unit, in time order."""

    def baseline(self, value: float) -> None:
        """Take a value from before the update."""

    def observe(self, value: float) -> None:
        """Take a value from after the update."""

    @property
    def baseline_count(self) -> int:
        """Baseline values so far."""

    @property
    def count(self) -> int:
        """Values since the update."""

    def finding(self) -> MetricFinding:
        """What the values so far say."""


@dataclass(frozen=True, slots=True)
class _Mean:
    count: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Mean:
        count = len(values)
        mean = math.fsum(values) / count
        squares = math.fsum((v - mean) ** 2 for v in values)
        return cls(count, mean, squares / (count - 1) if count > 1 else math.inf)

    @property
    def error(self) -> float:
        return math.sqrt(self.variance / self.count)


@dataclass(slots=True)
class _Running:
    """Mean and variance of a growing series in constant memory (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    def summary(self) -> _Mean:
        variance = self.squares / (self.count - 1) if self.count > 1 else math.inf
        return _Mean(self.count, self.mean, variance)


@dataclass(slots=True)
class ShiftJudge:
    """The interim judge of this module's docstring."""

    contract: MetricContract
    baseline_samples: int
    min_samples: int
    _before: deque[float] = field(default_factory=deque)
    _after: _Running = field(default_factory=_Running)
    _latest: deque[float] = field(default_factory=deque)
    _base: _Mean | None = None
    _finding: MetricFinding | None = None

    def baseline(self, value: float) -> None:
        """Take a value from before the update; the latest `baseline_samples` count."""
        self._finding = self._base = None
        self._before.append(self.contract.harm(value))
        if len(self._before) > self.baseline_samples:
            self._before.popleft()

    def observe(self, value: float) -> None:
        """Take a value from after the update."""
        self._finding = None
        harm = self.contract.harm(value)
        self._after.add(harm)
        self._latest.append(harm)
        if len(self._latest) > self.min_samples:
            self._latest.popleft()

    @property
    def baseline_count(self) -> int:
        """Baseline values in use."""
        return len(self._before)

    @property
    def count(self) -> int:
        """Values since the update."""
        return self._after.count

    def finding(self) -> MetricFinding:
        """Judge by the rule of this module's docstring."""
        if self._finding is None:
            self._finding = self._judge()
        return self._finding

    def _judge(self) -> MetricFinding:
        if len(self._before) < max(2, self.baseline_samples):
            return self._undecided(f"only {len(self._before)} baseline samples")
        if self._after.count < _MIN_LOOK:
            return self._undecided(f"only {self._after.count} samples since the update")
        base = self._base = self._base or _Mean.of(self._before)
        windows = [self._after.summary()]
        if self._after.count > len(self._latest):
            windows.append(_Mean.of(self._latest))
        worst = max(windows, key=lambda w: w.mean)
        for window in windows:
            if reason := self._regression(base, window):
                return MetricFinding(
                    self.contract.name, Shift.REGRESSED, reason, self._evidence(base, window)
                )
        if self._after.count < self.min_samples:
            return self._undecided(f"only {self._after.count} of {self.min_samples} samples")
        if all(self._is_fine(base, window) for window in windows):
            return MetricFinding(
                self.contract.name,
                Shift.FINE,
                f"{self._shift_words(base, worst)} excludes {self.contract.reject:g} worse",
                self._evidence(base, worst),
            )
        return self._undecided(
            f"{self._shift_words(base, worst)} does not exclude {self.contract.reject:g} worse",
            self._evidence(base, worst),
        )

    def _regression(self, base: _Mean, window: _Mean) -> str:
        error = math.hypot(base.error, window.error)
        if window.mean - base.mean - _REGRESSED_ERRORS * error > self.contract.margin:
            return (
                f"{self._shift_words(base, window)} is beyond the margin {self.contract.margin:g}"
            )
        limit = self._limit()
        if limit is not None and window.mean - _REGRESSED_ERRORS * window.error > limit:
            value = self.contract.harm(window.mean)
            return (
                f"mean {value:.4g} {self.contract.unit} is beyond the limit {self.contract.limit:g}"
            )
        return ""

    def _is_fine(self, base: _Mean, window: _Mean) -> bool:
        error = math.hypot(base.error, window.error)
        limit = self._limit()
        within = limit is None or window.mean + _FINE_ERRORS * window.error < limit
        return within and window.mean - base.mean + _FINE_ERRORS * error < self.contract.reject

    def _limit(self) -> float | None:
        return None if self.contract.limit is None else self.contract.harm(self.contract.limit)

    def _shift_words(self, base: _Mean, window: _Mean) -> str:
        before, after = self.contract.harm(base.mean), self.contract.harm(window.mean)
        error = math.hypot(base.error, window.error)
        return (
            f"{self.contract.name} {before:.4g} -> {after:.4g} {self.contract.unit} "
            f"({after - before:+.3g} ± {error:.2g}, n={window.count})"
        )

    def _undecided(
        self, reason: str, evidence: Mapping[str, object] | None = None
    ) -> MetricFinding:
        numbers = evidence or {"n_before": len(self._before), "n_after": self._after.count}
        return MetricFinding(
            self.contract.name, Shift.UNDECIDED, f"{self.contract.name}: {reason}", numbers
        )

    def _evidence(self, base: _Mean, window: _Mean) -> dict[str, object]:
        return {
            "unit": self.contract.unit,
            "before": round(self.contract.harm(base.mean), 9),
            "after": round(self.contract.harm(window.mean), 9),
            "error": round(math.hypot(base.error, window.error), 9),
            "n_before": base.count,
            "n_after": window.count,
            "margin": self.contract.margin,
            "reject": self.contract.reject,
            "limit": self.contract.limit,
            "rule": "shift/interim",
        }
