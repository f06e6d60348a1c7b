"""What evidence to ask for, from replays of healthy data: a proposal with its reasons.

`margin` and `reject` are what matters to an experiment: data can only force them up, because a
margin below what healthy devices wander takes good firmware back, and a reject below what can be
seen is a promise that nobody keeps. Baseline and soak are what it costs: the shortest that see
`reject` do. A soak is never made shorter: it also waits for faults that come late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import TYPE_CHECKING

from cryofw.health.sight import Sight, sight

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryofw.health.backtest import RolloutReplay
    from cryofw.health.contract import MetricContract
    from cryofw.health.wave_replay import Seen

BASELINES = (30, 40, 60, 100, 150, 200, 300)
_SOAKS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # times the soak that is
_WANDER = 3.0  # standard deviations that a margin leaves room for
_EXPLAINED = 1.15  # a spread so much above that of the noise is still noise
_Q95 = 1.959964
_HARDEST = 0.9  # of the streams; what the rest does to a rollout, replays of it tell


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric in healthy replays of one stage, in its unit.

    Attributes:
        noise: standard deviation of a sample as it is judged; nine in ten streams have less.
        rho: lag-1 autocorrelation, as the block lengths tell it; likewise.
        wander: standard deviation of the change from baseline to soak beyond what noise explains.
        streams: how many there were.
    """

    noise: float
    rho: float
    wander: float
    streams: int


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage asks for now; `threshold` is the wealth that a bet on a shift needs."""

    name: str
    every_s: float
    settle_s: float
    soak_s: float
    threshold: float

    def samples(self, soak_s: float) -> int:
        """Calibration samples expected in a soak."""
        return max(1, int((soak_s - self.settle_s) / self.every_s))


@dataclass(frozen=True, slots=True)
class Change:
    """One setting: what it is, what is proposed, and why."""

    now: float
    proposed: float
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that is proposed; unchanged settings are in it too.

    Attributes:
        baseline_samples: for all devices.
        margins: metric to its margin; rejects likewise.
        soaks: stage to its soak in seconds.
        blind: metrics of which no shift at all would be seen in some stage.
    """

    baseline_samples: Change
    margins: Mapping[str, Change]
    rejects: Mapping[str, Change]
    soaks: Mapping[str, Change]
    blind: tuple[str, ...] = ()

    def duration_s(self, every_s: float) -> float:
        """Baseline and soaks together, at one sample every `every_s` seconds."""
        soaks_s = sum(one.proposed for one in self.soaks.values())
        return self.baseline_samples.proposed * every_s + soaks_s

    @property
    def gives_way(self) -> bool:
        """Some reject is raised: less evidence than this would be needed to see it."""
        return any(one.proposed > one.now for one in self.rejects.values())


def measure(
    rollouts: Iterable[RolloutReplay], baseline_samples: int
) -> dict[str, dict[str, Measured]]:
    """Stage to metric to what its streams looked like.

    Args:
        rollouts: of healthy data.
        baseline_samples: with which they were replayed.
    """
    seen: dict[tuple[str, str], list[Seen]] = {}
    for rollout in rollouts:
        for wave in rollout.waves:
            for metric, streams in wave.replay.seen.items():
                key = wave.replay.stage, metric
                seen.setdefault(key, []).extend(one for one in streams if one.block)
    found: dict[str, dict[str, Measured]] = {}
    for (stage, metric), all_streams in seen.items():
        if len(all_streams) > 1:
            found.setdefault(stage, {})[metric] = _measured(all_streams, baseline_samples)
    return found


def _measured(streams: Sequence[Seen], baseline: int) -> Measured:
    judged = [one for one in streams if one.noise > 0 and one.samples]
    # In units of what noise alone gives, so that short and long soaks can be put together.
    units = [one.noise * _of_means(one.block, baseline, one.samples) for one in judged]
    spreads = [abs(one.worse) / unit for one, unit in zip(judged, units, strict=True)]
    ratio = quantiles(spreads, n=20)[-1] / _Q95 if len(spreads) > 1 else 0.0
    wander = median(units) * math.sqrt(ratio * ratio - 1) if ratio > _EXPLAINED else 0.0
    noise, block = _hardest(one.noise for one in streams), _hardest(one.block for one in streams)
    return Measured(noise, (block - 1) / (block + 1), wander, len(streams))


def _hardest(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(_HARDEST * len(ordered)))]


def _of_means(block: float, before: float, after: float) -> float:
    """Deviation of a difference of means, in deviations of a sample."""
    return math.sqrt(block * (1 / before + 1 / max(1, after)))


def propose(
    metrics: Mapping[str, MetricContract],
    stages: Sequence[StagePlan],
    measured: Mapping[str, Mapping[str, Measured]],
    now: int,
    baseline: int,
) -> Proposal:
    """The evidence to ask for with `baseline` samples from before the update.

    Args:
        metrics: the contracts as they are.
        stages: all stages, in order.
        measured: what `measure` found.
        now: baseline samples as they are.
        baseline: those to plan with.
    """
    margins = {name: _margin(one, measured) for name, one in metrics.items()}
    raised = {name: replace(one, margin=margins[name].proposed) for name, one in metrics.items()}
    soaks = {
        stage.name: _soak(stage, raised, measured.get(stage.name, {}), baseline) for stage in stages
    }
    seen = {name: _seen(name, stages, measured, soaks, baseline) for name in metrics}
    rejects = {name: _reject(one, seen[name]) for name, one in raised.items()}
    blind = tuple(
        name
        for name, sights in seen.items()
        if any(sight.finds is None or sight.clears is None for _, _, sight in sights)
    )
    why = "enough" if baseline == now else "with the soaks below, the quickest that sees `reject`"
    return Proposal(Change(now, baseline, why), margins, rejects, soaks, blind)


def _margin(metric: MetricContract, measured: Mapping[str, Mapping[str, Measured]]) -> Change:
    wanders = [stage[metric.name].wander for stage in measured.values() if metric.name in stage]
    most = max(wanders, default=0.0)
    floor, unit = _WANDER * most, metric.unit
    if not wanders:
        return Change(metric.margin, metric.margin, "not in the recording")
    if not most:
        why = "healthy devices change by no more than their noise explains"
        return Change(metric.margin, metric.margin, why)
    why = f"healthy devices wander by {most:.2g} {unit} (1 sd) from baseline to soak"
    if floor <= metric.margin:
        return Change(metric.margin, metric.margin, why)
    return Change(metric.margin, round_up(floor), f"{why}; three of these are no harm")


def _soak(
    stage: StagePlan,
    metrics: Mapping[str, MetricContract],
    measured: Mapping[str, Measured],
    baseline: int,
) -> Change:
    refusal = ""
    for factor in _SOAKS:
        soak_s = factor * stage.soak_s
        refusals = [
            refused
            for name, one in measured.items()
            if (refused := _refused(metrics[name], one, stage, soak_s, baseline))
        ]
        if not refusals:
            samples = stage.samples(soak_s)
            why = refusal or f"{baseline} + {samples} samples find and exclude `reject`"
            return Change(stage.soak_s, soak_s, why)
        refusal = refusal or refusals[0]
    # No soak helps: then `reject` has to give way.
    return Change(stage.soak_s, stage.soak_s, f"no longer soak helps: {refusal}")


def _refused(
    metric: MetricContract, one: Measured, stage: StagePlan, soak_s: float, baseline: int
) -> str:
    seen = sight(baseline, stage.samples(soak_s), stage.threshold, one.rho)
    return seen.refusal(metric, one.noise)


def _seen(
    metric: str,
    stages: Sequence[StagePlan],
    measured: Mapping[str, Mapping[str, Measured]],
    soaks: Mapping[str, Change],
    baseline: int,
) -> list[tuple[str, Measured, Sight]]:
    """What each stage sees of a metric with the soak that is proposed."""
    found = []
    for stage in stages:
        one = measured.get(stage.name, {}).get(metric)
        if one is not None:
            samples = stage.samples(soaks[stage.name].proposed)
            found.append((stage.name, one, sight(baseline, samples, stage.threshold, one.rho)))
    return found


def _reject(metric: MetricContract, seen: Sequence[tuple[str, Measured, Sight]]) -> Change:
    needed, why = 0.0, "not in the recording"
    for stage, one, sees in seen:
        shift = sees.smallest_shift(metric, one.noise)
        if shift is None or sees.clears is None:
            why = f"{stage} sees no shift at all: its noise is slow, so try a larger `every`"
            return Change(metric.reject, max(metric.reject, round_up(1.5 * metric.margin)), why)
        if (least := max(shift, sees.clears * one.noise)) > needed:
            needed = least
            why = f"with {one.noise:.2g} {metric.unit} of noise, {stage} sees {least:.3g}"
            why = f"{why} {metric.unit} in 90 % of cases"
    if needed <= metric.reject and metric.margin < metric.reject:
        return Change(metric.reject, metric.reject, why)
    return Change(metric.reject, round_up(max(needed, 1.5 * metric.margin)), f"{why}, no less")


def round_up(value: float) -> float:
    """`value` with two digits, not smaller."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.6g}")
