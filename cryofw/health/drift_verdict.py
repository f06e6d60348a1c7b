"""What is said about the drift of one series: period and promise, and the row of a report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_S = 86_400.0
ONE_IN_DAYS = 100_000.0


class DriftFinding(StrEnum):
    """What is said about one series."""

    DRIFTS = "drifts"
    STEADY = "steady"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class DriftRule:
    """The period and the promise.

    Attributes:
        start_s: seconds since 1970.
        judged_s: the end of the baseline.
        end_s: the end of the period.
        one_in_days: at most one false alarm in so many judged days of a series.
    """

    start_s: float
    judged_s: float
    end_s: float
    one_in_days: float = ONE_IN_DAYS


@dataclass(frozen=True, slots=True)
class Drift:
    """A drift that was found; sizes are in the metric's unit.

    Attributes:
        size: how far the metric now is from its baseline, against the neighbours if there are any.
        own: the same without them.
        per_day: its rate since it began; of a step, since then.
        began_s: when, as estimated; `earliest_s` and `latest_s` are its approximate 95 % range.
        gradual: a ramp and not a step.
        alarm_s: when the evidence was complete.
    """

    size: float
    own: float
    per_day: float
    began_s: float
    earliest_s: float
    latest_s: float
    gradual: bool
    alarm_s: float


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """One row of the report.

    Attributes:
        device: empty: the median of the cryostat, drift of a shared cause.
        why: why it was not judged, or what stands beside the finding.
        evidence: the most that the bets reached, in days; against `one_in_days`.
        judged_days: days of blocks behind it.
        block_s: length of a block; 0 when none would do.
        blocks: judged blocks; `gaps`: those of the judged period without enough data.
        samples: usable samples; `invalid` were NaN, `missing` were due and not there.
        neighbours: what the device was compared with.
    """

    cryostat: str
    device: str
    metric: str
    finding: DriftFinding
    why: str = ""
    evidence: float = 0.0
    judged_days: float = 0.0
    block_s: float = 0.0
    blocks: int = 0
    gaps: int = 0
    samples: int = 0
    invalid: int = 0
    missing: int = 0
    neighbours: tuple[str, ...] = ()
    drift: Drift | None = None

    @property
    def is_shared(self) -> bool:
        """It is about the cryostat and not about one device."""
        return not self.device
