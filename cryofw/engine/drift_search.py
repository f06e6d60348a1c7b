"""Looks for slow drift in a recording of the lab, with what fleet.yaml and the journal know."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryofw.engine.drift_origin import Origin, Proposal, origin_of, propose
from cryofw.errors import BadInput
from cryofw.health.drift import look_for_drift
from cryofw.health.drift_blocks import DriftSeries
from cryofw.health.drift_verdict import DriftFinding, DriftRule, DriftVerdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from cryofw.engine.release_timeline import ReleaseTimeline
    from cryofw.fleet import Fleet, Metric
    from cryofw.telemetry import Recording

BASELINE_SHARE = 1 / 3
_NOTHING = DriftSeries(array("d"), array("d"))


@dataclass(frozen=True)
class DriftRow:
    """A verdict with what the lab knows about it; `origin` and `proposal` only beside a drift."""

    verdict: DriftVerdict
    metric: Metric | None
    origin: Origin | None = None
    proposal: Proposal | None = None


@dataclass(frozen=True)
class DriftReport:
    """All rows, and what is promised about them."""

    source: str
    rule: DriftRule
    rows: tuple[DriftRow, ...]

    def of(self, finding: DriftFinding) -> list[DriftRow]:
        """The rows with this finding."""
        return [row for row in self.rows if row.verdict.finding is finding]

    @property
    def judged_days(self) -> float:
        """Days of all series together that were judged."""
        return math.fsum(row.verdict.judged_days for row in self.rows)

    @property
    def false_alarms(self) -> float:
        """The most that are to be expected when nothing drifts; also the chance of even one."""
        return self.judged_days / self.rule.one_in_days


def period(start_s: float, end_s: float, baseline_s: float | None, one_in_days: float) -> DriftRule:
    """The rule for a period; its first third is the baseline unless `baseline_s` is given.

    Raises:
        BadInput: nothing is left to judge.
    """
    length_s = end_s - start_s
    baseline_s = length_s * BASELINE_SHARE if baseline_s is None else baseline_s
    if not length_s > 0:
        raise BadInput("the period is empty", why=f"it has {length_s:g} s")
    if baseline_s >= length_s:
        raise BadInput(
            "the baseline leaves nothing to judge",
            why=f"it takes {baseline_s / 86_400:.3g} of {length_s / 86_400:.3g} days",
            hint="give a shorter --baseline-days, or more --days",
        )
    return DriftRule(start_s, start_s + baseline_s, end_s, one_in_days)


def search_drift(
    recording: Recording,
    fleet: Fleet | None,
    timeline: ReleaseTimeline,
    rule: DriftRule,
    expected: Collection[tuple[str, str]] = (),
) -> DriftReport:
    """Judge all that was recorded, and say so of what was not.

    Args:
        recording: the telemetry.
        fleet: knows cryostats and metrics; None: each device is judged on its own.
        timeline: knows releases.
        rule: period and promise.
        expected: (device, metric) that have a row even without a sample.
    """
    verdicts = [
        verdict
        for cryostat, metric, members in _groups(recording, fleet, expected)
        for verdict in look_for_drift(cryostat, metric, members, rule)
    ]
    search = _Explanation(verdicts, fleet, timeline, recording)
    rows = tuple(search.row(verdict) for verdict in verdicts)
    return DriftReport(recording.source, rule, rows)


class _Explanation:
    """What the lab knows, to put beside each verdict."""

    def __init__(
        self,
        verdicts: Sequence[DriftVerdict],
        fleet: Fleet | None,
        timeline: ReleaseTimeline,
        recording: Recording,
    ) -> None:
        self._fleet, self._timeline, self._recording = fleet, timeline, recording
        # Metric to devices: judged, and those that drift on their own or with their cryostat.
        self._judged: dict[str, set[str]] = {}
        self._drifting: dict[str, set[str]] = {}
        for one in verdicts:
            if one.finding is DriftFinding.NOT_JUDGED:
                continue
            devices = {*one.neighbours} if one.is_shared else {one.device}
            self._judged.setdefault(one.metric, set()).update(devices)
            if one.finding is DriftFinding.DRIFTS:
                self._drifting.setdefault(one.metric, set()).update(devices)

    def row(self, verdict: DriftVerdict) -> DriftRow:
        """The row of `verdict`."""
        device = verdict.device or verdict.neighbours[0]
        metric = _metric(self._fleet, device, verdict.metric)
        if verdict.drift is None:
            return DriftRow(verdict, metric)
        origin = origin_of(verdict, self._timeline, self._recording)
        if origin.release is not None:
            origin = replace(origin, company=self._company(verdict, origin.release.hash))
        proposal = propose(verdict, origin, metric, self._timeline.latest_rollout)
        return DriftRow(verdict, metric, origin, proposal)

    def _company(self, verdict: DriftVerdict, image: str) -> tuple[int, int]:
        own = {*verdict.neighbours} if verdict.is_shared else {verdict.device}
        others = {
            device
            for device in self._judged.get(verdict.metric, set()) - own
            if (spell := self._timeline.at(device, self._recording.end_s)) and spell.hash == image
        }
        drifting = len(others & self._drifting.get(verdict.metric, set()))
        return drifting, len(others) - drifting


def _metric(fleet: Fleet | None, device: str, name: str) -> Metric | None:
    controller = fleet.by_name.get(device) if fleet else None
    return controller.calibration.metrics.get(name) if controller else None


def _groups(
    recording: Recording, fleet: Fleet | None, expected: Collection[tuple[str, str]]
) -> Iterator[tuple[str, str, Mapping[str, DriftSeries]]]:
    """Cryostat, metric and its devices; a device of no known cryostat is a group of its own."""
    known = fleet.by_name if fleet else {}
    groups: dict[tuple[str, str, str], dict[str, DriftSeries]] = {}
    for device, metric in sorted({*expected, *recording.series}):
        cryostat = known[device].cryostat if device in known else ""
        recorded = recording.series.get((device, metric))
        series = (
            DriftSeries(recorded.times, recorded.values, recorded.missing) if recorded else _NOTHING
        )
        key = cryostat, metric, "" if cryostat else device
        groups.setdefault(key, {})[device] = series
    for (cryostat, metric, _), members in groups.items():
        yield cryostat, metric, members
