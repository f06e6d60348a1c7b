"""What is replayed of a wave, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from cryofw.health.ledger import StreamKind
from cryofw.health.stage_pool import StagePools

if TYPE_CHECKING:
    from cryofw.health.finding import Shift
    from cryofw.health.rule import CohortRule

Row: TypeAlias = Mapping[str, Mapping[str, float]]
"""What one slot of the grid holds: device to its metrics; what is absent is missing."""

BASELINE_FACTOR = 3
"""A baseline that is not complete in so many times its time is not waited for."""
_HOLD_SOAKS = 2


@dataclass(frozen=True, slots=True)
class ReplayedWave:
    """The devices of a wave that are judged together, as a rollout would run them.

    Attributes:
        stage: name of its stage.
        number: its place among the waves of the stage, from 1.
        rule: the frozen rule; its planned samples are the soak, once it has settled.
        settle_s: seconds after the update in which nothing is judged.
        hold_s: seconds that it is held when the soak decided nothing.
        pooled: all devices of the stage that share its contract, over the waves.
    """

    stage: str
    number: int
    rule: CohortRule
    settle_s: float
    hold_s: float
    pooled: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody whose samples are needed."""
        return self.rule.devices + self.rule.controls

    def slots(self, seconds: float) -> int:
        """Slots of the grid in so many seconds."""
        return math.ceil(seconds / self.rule.every_s - 1e-9)

    @property
    def least_slots(self) -> int:
        """Slots from the first baseline sample to the end of the soak, without gaps."""
        rule = self.rule
        return rule.baseline_samples + self.slots(self.settle_s) + rule.planned_samples

    @property
    def most_slots(self) -> int:
        """Slots after which it ends in any case; a hold is followed for two soaks at most."""
        rule = self.rule
        wait = (BASELINE_FACTOR - 1) * rule.baseline_samples
        hold = min(self.slots(self.hold_s), _HOLD_SOAKS * rule.planned_samples)
        return self.least_slots + wait + hold

    def open_pools(self) -> StagePools:
        """The pools of its stage, which the waves share."""
        rule = self.rule
        several = len(self.pooled) > 1
        return StagePools(
            rule.metrics,
            self.pooled,
            rule.planned_samples,
            rule.ledger.threshold(StreamKind.POOLED) if several else math.inf,
            rule.seed + f"{self.stage}/pool/".encode(),
        )


class ReplayOutcome(StrEnum):
    """How a replayed wave ended."""

    PASSED = "passed"
    HELD = "held"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A bet that was won.

    Attributes:
        metric: its name.
        kind: which kind of stream it was.
        device: whose; empty for a pooled stream.
        after_s: seconds after the samples began to count.
        reason: the finding's sentence.
    """

    metric: str
    kind: StreamKind
    device: str
    after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What one stream looked like in a replay, in the metric's unit.

    Attributes:
        noise: standard deviation of a baseline sample, as it is judged.
        worse: mean since the update less the mean of the baseline, worse is positive.
        block: samples in a block; 0 when nothing could be judged.
        samples: since the update; 0 when it was not updated.
    """

    noise: float
    worse: float
    block: int
    samples: int


@dataclass(frozen=True, slots=True)
class WaveReplay:
    """How one wave ended.

    Attributes:
        stage: and `number`: of the wave.
        outcome: of the whole wave; held when the soak alone did not decide, or when a device
            would not have been updated for want of a baseline that can judge.
        passed_later: it was held, and then passed before the hold ended.
        alarms: the first of each stream that raised one.
        settled: metric to what it said at the end of the soak where no alarm came.
        why: what kept it from passing; empty when it passed.
        seen: metric to what its streams looked like, one for each device.
        slots: of the grid that were used.
        soak_s: seconds that its samples count when it is not held.
    """

    stage: str
    number: int
    outcome: ReplayOutcome
    passed_later: bool = False
    alarms: tuple[Alarm, ...] = ()
    settled: Mapping[str, Shift] = field(default_factory=dict)
    why: str = ""
    seen: Mapping[str, tuple[Seen, ...]] = field(default_factory=dict)
    slots: int = 0
    soak_s: float = 0.0
