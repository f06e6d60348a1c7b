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

from cryofw.health.blocks import autocorrelation
from cryofw.health.drift_blocks import (
    LEAST_BASELINE,
    BlockGrid,
    DriftSeries,
    candidate_lengths,
    is_independent,
    is_unsteady,
)
from cryofw.health.drift_evidence import Course, follow
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
    search = _Search(cryostat, metric, members, rule)
    return search.run() if search.choose_grid() else search.nothing_judged()


class _Search:
    """One metric of one cryostat."""

    def __init__(
        self, cryostat: str, metric: str, members: Mapping[str, DriftSeries], rule: DriftRule
    ) -> None:
        self._cryostat, self._metric, self._rule = cryostat, metric, rule
        self._members = members
        self._grid = BlockGrid(math.nan, 0, 0, 0)
        self._blocks: dict[str, dict[int, float]] = {}
        self._centred: dict[str, dict[int, float]] = {}
        self._unsteady: set[str] = set()

    def choose_grid(self) -> bool:
        """The shortest blocks that no longer resemble each other in the baseline."""
        rule = self._rule
        for length in candidate_lengths(self._members, rule.start_s, rule.judged_s, rule.end_s):
            self._grid = BlockGrid.over(length, rule.start_s, rule.judged_s, rule.end_s)
            self._fill()
            self._leave_out_unsteady()
            if 2 * len(self._unsteady) > len(self._centred):
                continue
            still = self._still
            streams = [self._against(name, still) for name in sorted(still)]
            if len(still) > 1:
                streams.append(self._middle(still))
            if is_independent([base for one in streams if (base := self._baseline_of(one))]):
                return True
        return False

    @property
    def _still(self) -> set[str]:
        return {*self._centred} - self._unsteady

    def _leave_out_unsteady(self) -> None:
        """Who drifts in the baseline already moves the median of the others: the worst first."""
        self._unsteady = set()
        while still := self._still:
            bases = {name: self._baseline_of(self._against(name, still)) for name in sorted(still)}
            worst = max(bases, key=lambda name: autocorrelation(bases[name]))
            if not is_unsteady(bases[worst]):
                break
            self._unsteady.add(worst)

    def _fill(self) -> None:
        self._blocks, self._centred = {}, {}
        for name, series in self._members.items():
            interval_s = series.interval_s(self._rule.start_s, self._rule.judged_s)
            if math.isnan(interval_s):
                continue
            blocks = self._grid.blocks(series, interval_s)
            self._blocks[name] = blocks
            if len(base := self._baseline_of(blocks)) >= LEAST_BASELINE:
                centre = median(base)
                self._centred[name] = {index: v - centre for index, v in blocks.items()}

    def _baseline_of(self, blocks: Mapping[int, float]) -> list[float]:
        return [blocks[index] for index in sorted(blocks) if index < self._grid.judged]

    def _middle(self, names: set[str]) -> dict[int, float]:
        """The median over `names`, of each block that at least half of them have."""
        rows: dict[int, list[float]] = {}
        for name in sorted(names):
            for index, value in self._centred[name].items():
                rows.setdefault(index, []).append(value)
        return {index: median(row) for index, row in rows.items() if 2 * len(row) >= len(names)}

    def _against(self, device: str, names: set[str]) -> dict[int, float]:
        """`device` less the median of the others of `names`; as it is when there are none."""
        others = names - {device}
        if not others:
            return self._centred[device]
        middle = self._middle(others)
        return {i: v - middle[i] for i, v in self._centred[device].items() if i in middle}

    def run(self) -> list[DriftVerdict]:
        """All verdicts; drifters are taken out of the median one by one."""
        still, found = self._still, dict[str, DriftVerdict]()
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
        return self._follow(verdict, self._against(device, names), self._centred[device])

    def _judge_shared(self, names: set[str]) -> DriftVerdict | None:
        if len(names) < 2:
            return None
        middle = self._middle(names)
        verdict = DriftVerdict(
            self._cryostat, "", self._metric, DriftFinding.STEADY, block_s=self._grid.length_s,
            neighbours=tuple(sorted(names)),
        )  # fmt: skip
        return self._follow(verdict, middle, middle)

    def _follow(
        self, verdict: DriftVerdict, stream: Mapping[int, float], own: Mapping[int, float]
    ) -> DriftVerdict:
        """Judge `stream`, block index to value; `own` is the same without neighbours."""
        grid, rule = self._grid, self._rule
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
        if reason := self._thin(indices, blocks, planned):
            return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=reason)
        return verdict

    def _thin(self, indices: Sequence[int], blocks: int, planned: int) -> str:
        """Why too little is there to call it steady; empty when there is enough."""
        if blocks < max(_LEAST_JUDGED, _COVERED * planned):
            return f"only {blocks} of {planned} blocks after the baseline have enough data"
        silent = self._grid.end - 1 - indices[-1]
        if silent > max(2.0, _SILENT * planned):
            days = silent * self._grid.length_s / DAY_S
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
        length_s = self._grid.length_s
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
        length_s = 0.0 if math.isnan(self._grid.length_s) else self._grid.length_s
        return DriftVerdict(
            self._cryostat, name, self._metric, DriftFinding.STEADY, block_s=length_s,
            samples=usable, invalid=len(points) - usable, missing=series.missing,
        )  # fmt: skip

    def _too_little(self, name: str) -> DriftVerdict:
        verdict = self._counted(name)
        if name in self._unsteady:
            return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=_UNSTEADY)
        base = len(self._baseline_of(self._blocks.get(name, {})))
        why = f"only {base} of {LEAST_BASELINE} blocks of baseline"
        if not verdict.samples:
            why = "no sample in the period"
        return replace(verdict, finding=DriftFinding.NOT_JUDGED, why=why)

    def nothing_judged(self) -> list[DriftVerdict]:
        """Rows for all devices: no blocks would do."""
        self._unsteady = set()
        found = [self._too_little(name) for name in sorted(self._members)]
        why = (
            f"its baseline is too short, or its noise too slow, for {LEAST_BASELINE} blocks that "
            "do not resemble each other"
        )
        self._grid = BlockGrid(math.nan, 0, 0, 0)
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
