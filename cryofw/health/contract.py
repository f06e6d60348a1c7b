"""What the plan freezes about evidence: which metrics, how often, and what counts as worse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Worse(StrEnum):
    """The direction in which a metric gets worse."""

    LOWER = "lower"
    HIGHER = "higher"


class Method(StrEnum):
    """How a shift is judged."""

    RANKS = "conformal-ranks"
    T_MIXTURE = "t-mixture"


@dataclass(frozen=True, slots=True)
class MetricContract:
    """One calibration metric, in its own unit.

    Attributes:
        name: the device's name for it.
        unit: physical unit of every number here.
        worse: direction of harm.
        margin: a shift up to this is engineering noise and never a failure.
        reject: a shift of this much must be excluded before the firmware may pass.
        limit: absolute value that the mean may not pass, whatever the baseline was.
    """

    name: str
    unit: str
    worse: Worse
    margin: float
    reject: float
    limit: float | None = None

    def harm(self, value: float) -> float:
        """`value` oriented so that higher is worse."""
        return value if self.worse is Worse.HIGHER else -value


@dataclass(frozen=True, slots=True)
class EvidenceContract:
    """How one device is judged.

    Attributes:
        soak_s: seconds the device's own uptime must advance in one boot.
        deadline_s: seconds after which an open verdict is held, and then rolled back.
        heartbeat_every_s: planned seconds between heartbeats.
        misses_allowed: consecutive missed heartbeats that are still tolerated.
        sample_every_s: planned seconds between calibration samples.
        baseline_samples: fresh samples needed before the device is touched.
        min_samples: fresh samples after the update below which nothing passes.
        metrics: the calibration metrics; empty means heartbeats alone decide.
        settle_s: seconds after the test boot in which no metric is judged.
        method: how a shift is judged.
    """

    soak_s: float
    deadline_s: float
    heartbeat_every_s: float
    misses_allowed: int
    sample_every_s: float
    baseline_samples: int
    min_samples: int
    metrics: tuple[MetricContract, ...] = ()
    settle_s: float = 0.0
    method: Method = Method.RANKS

    @property
    def planned_samples(self) -> int:
        """Calibration samples expected in a soak, once it has settled."""
        return max(1, int((self.soak_s - self.settle_s) / self.sample_every_s))

    @property
    def min_beats(self) -> int:
        """Fresh heartbeats without which a soak does not count: four in five of the planned."""
        return max(1, int(0.8 * self.soak_s / self.heartbeat_every_s))
