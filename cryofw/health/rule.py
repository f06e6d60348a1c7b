"""What is frozen about a stream and a wave before the first look, and how beta is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.health.contract import Method
from cryofw.health.ledger import StreamKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.contract import MetricContract
    from cryofw.health.ledger import AlphaLedger

BETA = 0.05
_BET_PART = 0.2  # of beta goes to the bet on "fine", the rest to the looks
_FIRST_LOOK = 0.75  # of what is left for looks


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


def fine_threshold(beta: float) -> float:
    """Wealth at which the bet on "not worse by reject" is won."""
    return 1 / (beta * _BET_PART)


def look_level(beta: float, look: int) -> float:
    """P-value at which planned look `look` (from 1) says "not worse by reject"; sums below beta."""
    return beta * (1 - _BET_PART) * _FIRST_LOOK * (1 - _FIRST_LOOK) ** (look - 1)


@dataclass(frozen=True, slots=True)
class CohortRule:
    """What is frozen about a wave before it is touched.

    Attributes:
        name: of the wave, unique in the plan.
        devices: those that are updated.
        controls: those that are not, until the wave's verdicts are in.
        every_s: planned seconds between samples.
        golden: (device, metric) to the mean of the golden baseline.
        seed: the plan's digest.
    """

    name: str
    devices: tuple[str, ...]
    controls: tuple[str, ...]
    metrics: tuple[MetricContract, ...]
    every_s: float
    baseline_samples: int
    min_samples: int
    planned_samples: int
    ledger: AlphaLedger
    seed: bytes
    golden: Mapping[tuple[str, str], float] | None = None
    beta: float = BETA
    method: Method = Method.RANKS

    def stream_rule(self, device: str, metric: MetricContract, attempt: int) -> StreamRule:
        """What is frozen about the stream of one metric of a device, at an attempt from 1."""
        golden = (self.golden or {}).get((device, metric.name))
        bounded = metric.limit is not None or golden is not None
        ledger = self.ledger
        return StreamRule(
            metric,
            self.baseline_samples,
            self.min_samples,
            self.planned_samples,
            ledger.threshold(StreamKind.SHIFT, attempt),
            ledger.threshold(StreamKind.NOISE, attempt),
            ledger.threshold(StreamKind.BOUND, attempt) if bounded else math.inf,
            golden,
            self.beta,
            self.method,
        )

    def streams(self) -> list[StreamKind]:
        """One entry for each stream of the wave, for the ledger."""
        return wave_streams(len(self.devices), self.metrics, golden=bool(self.golden))


def wave_streams(
    devices: int, metrics: tuple[MetricContract, ...], *, golden: bool = False
) -> list[StreamKind]:
    """The streams of a wave of so many devices, heartbeats included, for the ledger."""
    streams = [StreamKind.HEARTBEAT] * devices
    for metric in metrics:
        streams += [StreamKind.SHIFT, StreamKind.NOISE] * devices
        if golden or metric.limit is not None:
            streams += [StreamKind.BOUND] * devices
        if devices > 1:
            streams.append(StreamKind.POOLED)
    return streams
