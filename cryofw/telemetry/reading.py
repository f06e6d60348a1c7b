"""Readings, each with its freshness: only a fresh one counts, and nothing passes for another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from cryofw.health import LabValue, MetricSample

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class Freshness(StrEnum):
    """What is known about a reading.

    FRESH counts. STALE is older than its source may be, or a series that ended. REPEATED is the
    sample that was read before. MISSING: the source answered and has nothing. INVALID: NaN, an
    infinity, or what cannot be. UNAVAILABLE: the source did not answer, or nothing of use.
    """

    FRESH = "fresh"
    STALE = "stale"
    REPEATED = "repeated"
    MISSING = "missing"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Observed(Generic[T]):
    """One reading.

    Attributes:
        freshness: only `FRESH` counts.
        value: what was read; None where there was nothing.
        t_s: when it was measured, in seconds since 1970 of the host's clock; None if unknown.
        why: why it does not count, one sentence.
        stamp_s: when it was measured, of the source's own clock: what tells one sample from the
            next; None if the source does not say.
    """

    freshness: Freshness
    value: T | None = None
    t_s: float | None = None
    why: str = ""
    stamp_s: float | None = None

    @property
    def fresh(self) -> T | None:
        """The value if it counts, else None."""
        return self.value if self.freshness is Freshness.FRESH else None


def observed(value: T, t_s: float, *, now_s: float, stale_s: float) -> Observed[T]:
    """A value measured at `t_s`, by its age; a number that is not finite is invalid."""
    age_s = now_s - t_s
    if age_s > stale_s:
        why = f"{age_s:.0f} s old, more than {stale_s:g} s"
        return Observed(Freshness.STALE, value, t_s, why)
    if age_s < -stale_s:
        # A clock that far ahead would make an old reading look fresh for ever.
        return Observed(Freshness.STALE, value, t_s, f"{-age_s:.0f} s in the future")
    if isinstance(value, float) and not math.isfinite(value):
        return Observed(Freshness.INVALID, value, t_s, f"it reads {value}")
    return Observed(Freshness.FRESH, value, t_s)


def lab_reading(value: T | None, t_s: float) -> Observed[T]:
    """What a simulated lab says at `t_s`; None is missing."""
    if value is None:
        return Observed(Freshness.MISSING, why="the simulated lab has no such reading")
    return observed(value, t_s, now_s=t_s, stale_s=0.0)


@dataclass(frozen=True)
class MetricReadings:
    """The metrics of one controller, read together at `t_s` (seconds since 1970)."""

    t_s: float
    metrics: Mapping[str, Observed[float]]

    @property
    def sample(self) -> MetricSample:
        """What counts, as health takes it: invalid is NaN, the rest is absent."""
        values: dict[str, LabValue] = {}
        for name, one in self.metrics.items():
            t_s = self.t_s if one.t_s is None else one.t_s
            if one.freshness is Freshness.INVALID:
                values[name] = LabValue(math.nan, t_s, one.stamp_s)
            elif one.fresh is not None:
                values[name] = LabValue(one.fresh, t_s, one.stamp_s)
        return MetricSample(self.t_s, lab=values, gaps=self.gaps)

    @property
    def gaps(self) -> Mapping[str, str]:
        """Metric to the reason, for each that does not count."""
        return {
            name: f"{one.freshness}: {one.why}" if one.why else str(one.freshness)
            for name, one in self.metrics.items()
            if one.freshness is not Freshness.FRESH
        }


@dataclass(frozen=True)
class ExperimentLease:
    """An experiment's lease on a cryostat; without an owner it is free.

    Attributes:
        owner: who holds it; empty: nobody.
        expires_s: until when, in seconds since 1970.
        token: the fencing token, which grows with each lease; None if the lab gives none.
    """

    owner: str = ""
    expires_s: float = 0.0
    token: int | None = None

    def is_held(self, now_s: float) -> bool:
        """Whether it keeps rollouts out at `now_s`."""
        return bool(self.owner) and now_s < self.expires_s


FREE = ExperimentLease()


@dataclass(frozen=True)
class CryostatReading:
    """The state of one cryostat at `t_s` (seconds since 1970); None: no such guard in fleet.yaml.

    A guard whose reading is not fresh must forbid what it guards.
    """

    t_s: float
    cryostat: str
    temperature_k: Observed[float] | None = None
    fridge_state: Observed[str] | None = None
    experiment: Observed[ExperimentLease] | None = None


class BudgetState(StrEnum):
    """Whether an error budget lets a rollout begin; UNKNOWN does not."""

    KEPT = "kept"
    SPENT = "spent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class BudgetReading:
    """One error budget: its name, the bound in words, and what was read."""

    name: str
    bound: str
    value: Observed[float]
    state: BudgetState
