"""Slow drift of a metric in one cryostat: whose it is, how much, and since when.

Every device is compared with the median of its neighbours, so that what moves all of them alike is
not blamed on each; that median itself is watched for drift of a shared cause. A device that drifts
is left out of the others' median, and they are judged anew: the largest evidence goes first.

Unknown is not healthy: a series with too little data, with noise too slow for its baseline, or
silent at the end is NOT_JUDGED, with the reason.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from cryofw.health.drift_blocks import (
    LEAST_BASELINE,
    DriftSeries,
    is_unsteady,
)
from cryofw.health.drift_evidence import Course, follow
from cryofw.health.drift_neighbours import Neighbours
from cryofw.health.drift_onset import Beginning, estimate_beginning, slope
from cryofw.health.drift_verdict import DAY_S, Drift, DriftFinding, DriftRule, DriftVerdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEAST_JUDGED = 5
_COVERED = 0.5  # of the judged blocks must be there
_SILENT = 0.05  # of the judged period may be silent at its end
_UNSTEADY = "it drifts or wanders in its baseline already: take a longer or another baseline"
_RECENT = 0.1  # of the judged blocks are what a metric reads "now"


def look_for_drift(
    cryostat: str, metric: str, members: Mapping[str, DriftSeries], rule: DriftRule
) -> list[DriftVerdict]:
    """Judge one metric of the devices of one cryostat, and what they share.

    Args:
        cryostat: its name; empty for a device that is in none.
        metric: its name.
        members: device to its series; a device without samples may be there too.
        rule: period and promise.

    Returns:
        a verdict for each device, and one for the cryostat when it has two or more.
    """
    return _Search(cryostat, metric, members, rule).run()


class _Search:
    """One metric of one cryostat."""

    def __init__(
        self, cryostat: str, metric: str, members: Mapping[str, DriftSeries], rule: DriftRule
    ) -> None:
        self._cryostat, self._metric, self._rule = cryostat, metric, rule
        self._members = members
        self._room = Neighbours(members, rule)
        self._is_judged = self._room.choose_grid()

    def run(self) -> list[DriftVerdict]:
        """All verdicts; drifters are taken out of the median one by one."""
        if not self._is_judged:
            return self._nothing_judged()
        still, found = self._room.still, dict[str, DriftVerdict]()
        while True:
            judged = {name: self._judge(name, still) for name in sorted(still)}
            drifting = [one for one in judged.values() if one.finding is DriftFinding.DRIFTS]
            if not drifting:
                break
            first = _first_to_blame(drifting)
            found[first.device] = first
            still.discard(first.device)
        verdicts = {**judged, **found}
        shared = self._judge_shared(still)
        if shared is not None and shared.drift is not None:
            verdicts = {name: _unless_it_stayed(one) for name, one in verdicts.items()}
        rows = [verdicts.get(name) or self._too_little(name) for name in sorted(self._members)]
        return rows if shared is None else [shared, *rows]

    def _judge(self, device: str, names: set[str]) -> DriftVerdict:
        verdict = self._counted(device)
        neighbours = tuple(sorted(names - {device}))
        why = "" if neighbours else "no neighbour to tell it from a drift that all share"
        verdict = replace(verdict, neighbours=neighbours, why=why)
        return self._follow(verdict, self._room.against(device, names), self._room.centred[device])

    def _judge_shared(self, names: set[str]) -> DriftVerdict | None:
        if len(names) < 2:
            return None
        middle = self._room.middle(names)
        verdict = DriftVerdict(
            self._cryostat, "", self._metric, DriftFinding.STEADY, block_s=self._room.grid.length_s,
            neighbours=tuple(sorted(names)),
        )  # fmt: skip
        return self._follow(verdict, middle, middle)

    def _follow(
        self, verdict: DriftVerdict, stream: Mapping[int, float], own: Mapping[int, float]
    ) -> DriftVerdict:
        """Judge `stream`, block index to value; `own` is the same without neighbours."""
        grid, rule = self._room.grid, self._rule
        indices = sorted(stream)
        values = [stream[index] for index in indices]
        count = sum(index < grid.judged for index in indices)
        blocks, planned = len(indices) - count, grid.end - grid.judged
        verdict = replace(verdict, blocks=blocks, gaps=planned - blocks)
        if reason := _unfit(values[:count]):
            return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=reason)
        stake = grid.length_s / DAY_S
        seed = f"drift {verdict.cryostat} {verdict.device} {verdict.metric}".encode()
        course = follow(values, count, stake, rule.one_in_days, seed)
        verdict = replace(verdict, evidence=course.evidence, judged_days=blocks * stake)
        if course.alarm is not None:
            drift = self._drift(indices, values, count, course, own)
            return replace(verdict, finding=DriftFinding.DRIFTS, drift=drift)
        if reason := self._thin(indices, blocks, planned) or _frozen(own, planned):
            return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=reason)
        return verdict

    def _thin(self, indices: Sequence[int], blocks: int, planned: int) -> str:
        """Why too little is there to call it steady; empty when there is enough."""
        if blocks < max(_LEAST_JUDGED, _COVERED * planned):
            return f"only {blocks} of {planned} blocks after the baseline have enough data"
        silent = self._room.grid.end - 1 - indices[-1]
        if silent > max(2.0, _SILENT * planned):
            days = silent * self._room.grid.length_s / DAY_S
            return f"no drift until then, but silent for the last {days:.2g} days"
        return ""

    def _drift(
        self,
        indices: Sequence[int],
        values: Sequence[float],
        count: int,
        course: Course,
        own: Mapping[int, float],
    ) -> Drift:
        length_s = self._room.grid.length_s
        assert course.alarm is not None
        days = [index * length_s / DAY_S for index in indices]
        began = estimate_beginning(days, values, course.alarm)
        recent = max(3, int(_RECENT * (len(values) - count)))
        centre = median(values[: min(count, began.at)] or values[:1])
        size = median(values[-recent:]) - centre
        return Drift(
            size=size,
            own=median(own[index] for index in indices[-recent:])
            - median(own[index] for index in indices[: max(1, min(count, began.at))]),
            per_day=_rate(days, values, began, size),
            # A ramp begins in the middle of the last block that it did not touch.
            began_s=(indices[began.at - 1] + 0.5 if began.gradual else indices[began.at])
            * length_s,
            earliest_s=indices[began.earliest - 1] * length_s,
            latest_s=(indices[began.latest] + 1) * length_s,
            gradual=began.gradual,
            alarm_s=(indices[course.alarm] + 1) * length_s,
        )

    def _counted(self, name: str) -> DriftVerdict:
        series, rule = self._members[name], self._rule
        points = [t for t in series.times if rule.start_s <= t < rule.end_s]
        usable = len(series.between(rule.start_s, rule.end_s))
        length_s = 0.0 if math.isnan(self._room.grid.length_s) else self._room.grid.length_s
        return DriftVerdict(
            self._cryostat, name, self._metric, DriftFinding.STEADY, block_s=length_s,
            samples=usable, invalid=len(points) - usable, missing=series.missing,
        )  # fmt: skip

    def _too_little(self, name: str) -> DriftVerdict:
        verdict = self._counted(name)
        if name in self._room.unsteady:
            return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=_UNSTEADY)
        base = self._room.baseline_blocks(name)
        why = f"only {base} of {LEAST_BASELINE} blocks of baseline"
        if not verdict.samples:
            why = "no sample in the period"
        return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=why)

    def _nothing_judged(self) -> list[DriftVerdict]:
        """Rows for all devices: no blocks would do."""
        found = [self._too_little(name) for name in sorted(self._members)]
        why = (
            f"its baseline is too short, or its noise too slow, for {LEAST_BASELINE} blocks that "
            "do not resemble each other"
        )
        return [replace(one, block_s=0.0, why=why if one.samples else one.why) for one in found]


def _unfit(baseline: Sequence[float]) -> str:
    """Why nothing can be judged against this baseline; empty when it will do."""
    if len(baseline) < LEAST_BASELINE:
        return f"only {len(baseline)} of {LEAST_BASELINE} blocks of baseline"
    if max(baseline) == min(baseline):
        return "its baseline never changes: a frozen reading?"
    if is_unsteady(baseline):
        return _UNSTEADY
    return ""


def _frozen(own: Mapping[int, float], planned: int) -> str:
    """Why the reading itself is no news; its neighbours may move meanwhile."""
    last = [own[index] for index in sorted(own)[-max(_LEAST_JUDGED, int(_SILENT * planned)) :]]
    if max(last) > min(last):
        return ""
    return f"no drift is seen, but its last {len(last)} blocks read the same: a frozen reading?"


def _first_to_blame(drifting: Sequence[DriftVerdict]) -> DriftVerdict:
    """Who is taken out of the median first.

    Of two that part, one may stand still: when they point in both directions, those that moved by
    themselves go before those that the others moved away from.
    """
    sizes = [one.drift.size for one in drifting if one.drift is not None]
    if min(sizes) < 0 < max(sizes):
        movers = [one for one in drifting if not _stayed(one)]
        return max(movers or drifting, key=lambda one: one.evidence)
    return max(drifting, key=lambda one: one.evidence)


def _stayed(verdict: DriftVerdict) -> bool:
    drift = verdict.drift
    return drift is not None and drift.own * drift.size < 0.5 * drift.size * drift.size


def _unless_it_stayed(verdict: DriftVerdict) -> DriftVerdict:
    """In a cryostat that moved, a device that did not is no drifter."""
    if not _stayed(verdict):
        return verdict
    why = "it stands still while its cryostat moves"
    return replace(verdict, finding=DriftFinding.STEADY, why=why, drift=None)


def _rate(days: Sequence[float], values: Sequence[float], began: Beginning, size: float) -> float:
    """Units a day since it began."""
    if began.gradual:
        return slope(days[began.at - 1 :], values[began.at - 1 :])
    return size / max(days[-1] - days[began.at], days[-1] - days[-2])
