"""What replays of a recording say about fleet.yaml: shares with their intervals, and delays."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from cryofw.health.finding import Shift
from cryofw.health.wave_replay import ReplayOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryofw.health.backtest import RolloutReplay
    from cryofw.health.ledger import StreamKind
    from cryofw.health.wave_replay import WaveReplay

_Z = 1.959964  # 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`, with Wilson's 95 % interval (Wilson, JASA 1927)."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound of the share; all of 0 to 1 when nothing was seen."""
        if not self.total:
            return 0.0, 1.0
        p, n = self.count / self.total, self.total
        middle = p + _Z * _Z / (2 * n)
        half = _Z * math.sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n))
        scale = 1 + _Z * _Z / n
        low = 0.0 if self.count == 0 else (middle - half) / scale
        high = 1.0 if self.count == n else (middle + half) / scale
        return low, high


def replays_for(bound: float) -> int:
    """Replays without a false alarm that show a rate of at most `bound` (0 to 1)."""
    return math.ceil(_Z * _Z * (1 - bound) / bound)


@dataclass(frozen=True, slots=True)
class WaveCount:
    """How the replays of one wave of a stage ended."""

    stage: str
    number: int
    false: Share
    held: Share
    passed_later: int


@dataclass(frozen=True, slots=True)
class Detection:
    """How a shift of a metric showed in the replays of a wave; wave 0: all of the stage.

    Attributes:
        shift: how much worse the metric was made, in its unit.
        found: replays with an alarm of this metric within the soak.
        missed: replays in which the metric passed everywhere.
        delays_s: seconds from the first sample that counted to the alarm, of those found.
    """

    metric: str
    shift: float
    stage: str
    number: int
    found: Share
    missed: int
    delays_s: tuple[float, ...]

    @property
    def median_s(self) -> float | None:
        """Median of the delays; None when it was never found."""
        return median(self.delays_s) if self.delays_s else None


def false_share(rollouts: Sequence[RolloutReplay]) -> Share:
    """Rollouts of healthy data that were rolled back."""
    return _share(rollouts, ReplayOutcome.ROLLED_BACK)


def held_share(rollouts: Sequence[RolloutReplay]) -> Share:
    """Rollouts that were held and not rolled back."""
    return _share(rollouts, ReplayOutcome.HELD)


def _share(rollouts: Sequence[RolloutReplay], outcome: ReplayOutcome) -> Share:
    return Share(sum(one.outcome is outcome for one in rollouts), len(rollouts))


def false_by_stream(rollouts: Sequence[RolloutReplay]) -> dict[tuple[str, StreamKind], Share]:
    """(metric, kind) to the rollouts in which such a stream raised an alarm, most first."""
    counts: Counter[tuple[str, StreamKind]] = Counter()
    for one in rollouts:
        counts.update({(alarm.metric, alarm.kind) for _, alarm in one.alarms})
    return {key: Share(count, len(rollouts)) for key, count in counts.most_common()}


def by_wave(rollouts: Iterable[RolloutReplay]) -> list[WaveCount]:
    """Endings of each wave, in the order of the rollout."""
    replays: dict[tuple[str, int], list[WaveReplay]] = {}
    for one in rollouts:
        for wave in one.waves:
            replays.setdefault((wave.replay.stage, wave.replay.number), []).append(wave.replay)
    return [
        WaveCount(
            stage,
            number,
            Share(sum(r.outcome is ReplayOutcome.ROLLED_BACK for r in waves), len(waves)),
            Share(sum(r.outcome is ReplayOutcome.HELD for r in waves), len(waves)),
            sum(r.passed_later for r in waves),
        )
        for (stage, number), waves in replays.items()
    ]


def detections(rollouts: Iterable[RolloutReplay], shifts: Mapping[str, float]) -> list[Detection]:
    """How each shift showed, by stage (wave 0) and by wave.

    A stage has found it when any of its waves has; the time is from the stage's first update and
    counts the soaks of the waves that had not.
    """
    seen: dict[tuple[str, str, int], list[_Sighting]] = {}
    for one in rollouts:
        stages: dict[str, list[WaveReplay]] = {}
        for placed in one.waves:
            stages.setdefault(placed.replay.stage, []).append(placed.replay)
        for stage, waves in stages.items():
            for metric in shifts:
                for wave in waves:
                    if metric in wave.settled:
                        key = metric, stage, wave.number
                        seen.setdefault(key, []).append(_sighting(wave, metric))
                if any(metric in wave.settled for wave in waves):
                    seen.setdefault((metric, stage, 0), []).append(_of_stage(waves, metric))
    return [
        Detection(
            metric,
            shifts[metric],
            stage,
            number,
            Share(sum(s.after_s is not None for s in sightings), len(sightings)),
            sum(s.passed for s in sightings),
            tuple(sorted(s.after_s for s in sightings if s.after_s is not None)),
        )
        for (metric, stage, number), sightings in seen.items()
    ]


class _Sighting(NamedTuple):
    after_s: float | None
    passed: bool


def _sighting(wave: WaveReplay, metric: str) -> _Sighting:
    after_s = min((a.after_s for a in wave.alarms if a.metric == metric), default=None)
    return _Sighting(after_s, after_s is None and wave.settled[metric] is Shift.FINE)


def _of_stage(waves: Sequence[WaveReplay], metric: str) -> _Sighting:
    before_s, all_passed = 0.0, True
    for number in sorted({wave.number for wave in waves}):
        together = [w for w in waves if w.number == number]
        each = [_sighting(w, metric) for w in together if metric in w.settled]
        found = [one.after_s for one in each if one.after_s is not None]
        if found:
            return _Sighting(before_s + min(found), passed=False)
        all_passed = all_passed and all(one.passed for one in each)
        before_s += max(wave.soak_s for wave in together)
    return _Sighting(None, all_passed)


def noise_of(rollouts: Iterable[RolloutReplay]) -> dict[str, float]:
    """Metric to the median standard deviation of a sample, as it is judged."""
    noises: dict[str, list[float]] = {}
    for one in rollouts:
        for wave in one.waves:
            for metric, streams in wave.replay.seen.items():
                noises.setdefault(metric, []).extend(stream.noise for stream in streams)
    return {metric: median(values) for metric, values in noises.items() if values}
