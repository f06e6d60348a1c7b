"""How a report of drift is shown to a person: a table, and a paragraph for each drift."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from cryofw.cli.output import Status
from cryofw.health.drift_verdict import DriftFinding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.cli.output import Output
    from cryofw.engine.drift_origin import Origin
    from cryofw.engine.drift_search import DriftReport, DriftRow

_NAMED = 4  # devices that are named one by one


def show_drift(output: Output, report: DriftReport, *, show_all: bool = False) -> None:
    """Print the report for a person.

    Args:
        output: where to.
        report: the rows.
        show_all: the steady ones too, each.
    """
    rule = report.rule
    days = (rule.end_s - rule.judged_s) / 86_400
    output.line(f"{report.source}, {_time(rule.start_s)} to {_time(rule.end_s)}")
    output.line(f"  baseline until {_time(rule.judged_s)}, judged since: {days:.3g} days")
    if not any(row.verdict.cryostat for row in report.rows):
        output.line("  no fleet.yaml names their cryostats: each device is judged on its own")
    output.line()
    drifting = report.of(DriftFinding.DRIFTS)
    if drifting:
        _table(output, drifting)
        for row in drifting:
            output.line()
            _paragraph(output, row, rule.one_in_days)
        output.line()
    _not_judged(output, report.of(DriftFinding.NOT_JUDGED))
    _steady(output, report.of(DriftFinding.STEADY), show_all=show_all)
    _promise(output, report)


def _table(output: Output, rows: Sequence[DriftRow]) -> None:
    header = ("cryostat", "device", "metric", "drift so far", "a day", "began", "proposal")
    cells = []
    for row in rows:
        verdict, drift, proposal = row.verdict, row.verdict.drift, row.proposal
        assert drift is not None
        assert proposal is not None
        unit = row.metric.unit if row.metric else ""
        rate = f"{drift.per_day:+.2g}" if drift.gradual else "step"
        cells.append((
            verdict.cryostat or "-", verdict.device or "(shared)", verdict.metric,
            f"{drift.size:+.3g} {unit}".strip(), rate,
            _time(drift.began_s), output.style(proposal.step.value, "yellow"),
        ))  # fmt: skip
    output.table(header, cells)


def _paragraph(output: Output, row: DriftRow, one_in_days: float) -> None:
    """All about one drift."""
    verdict, drift, origin, proposal = row.verdict, row.verdict.drift, row.origin, row.proposal
    assert drift is not None
    assert origin is not None
    assert proposal is not None
    unit = row.metric.unit if row.metric else ""
    who = verdict.device or f"{verdict.cryostat}, shared by its devices"
    output.status(Status.FAILED, "drifts", f"{who}: {verdict.metric}")
    size = f"{drift.size:+.3g} {unit}".strip()
    if verdict.is_shared:
        against = f"median of {_names(verdict.neighbours)}"
    elif verdict.neighbours:
        against = f"against the median of {_names(verdict.neighbours)}; by itself {drift.own:+.3g}"
    else:
        against = verdict.why
    rate = f", {drift.per_day:+.2g} a day" if drift.gradual else ", in a step"
    output.line(f"    drift      {size}{rate} ({against})")
    span = f"between {_time(drift.earliest_s)} and {_time(drift.latest_s)}"
    output.line(f"    began      about {_time(drift.began_s)}, {span}")
    output.line(f"    release    {_release(origin)}")
    output.line(f"    cooldown   {_cooldown(origin)}")
    output.line(f"    evidence   {_evidence(verdict.evidence, one_in_days)}")
    if verdict.gaps:
        output.line(f"    gaps       {verdict.gaps} of {verdict.gaps + verdict.blocks} blocks")
    step = output.style(proposal.step.value, "yellow", bold=True)
    output.line(f"    proposal   {step}: {proposal.why}")


def _release(origin: Origin) -> str:
    spell = origin.release
    if spell is None:
        return "unknown: no journal says what ran"
    if not spell.hash:
        return "unknown: the device was stuck"
    name = f"{spell.version} ({spell.hash[:12]})"
    if not origin.with_release:
        since = f"since {_time(spell.t_s)}" if spell.installed else f"as read {_time(spell.t_s)}"
        return f"{name} ran, {since}; no other began then"
    before = origin.before.version if origin.before and origin.before.hash else "unknown"
    on = "" if len(origin.carriers) == 1 else f" on {_names(origin.carriers)}"
    return f"{name} began then{on}, {_time(spell.t_s)}; before: {before}"


def _cooldown(origin: Origin) -> str:
    if not origin.cooldown:
        return "unknown: the telemetry does not name it"
    if origin.with_cooldown:
        return f"{origin.cooldown} began then"
    return f"{origin.cooldown}; no other began then"


def _evidence(days: float, one_in_days: float) -> str:
    reached = f"{days:,.0f}" if days < 1e9 else "over a billion"
    needed = f"{one_in_days:,.0f}"
    return f"{reached}; without drift a series gets to {needed} once in {needed} days at most"


def _not_judged(output: Output, rows: Sequence[DriftRow]) -> None:
    """By cryostat and reason: silence must be seen, but not drown the rest."""
    ordered = sorted(rows, key=_gap_key)
    for (cryostat, why), group in groupby(ordered, key=_gap_key):
        members = list(group)
        names = _names(sorted({one.verdict.device or "(shared)" for one in members}))
        metrics = ", ".join(sorted({one.verdict.metric for one in members}))
        where = f"{cryostat} " if cryostat else ""
        output.status(Status.HELD, "not judged", f"{where}{names}: {metrics}")
        samples = sum(one.verdict.samples for one in members)
        lost = sum(one.verdict.invalid + one.verdict.missing for one in members)
        counts = f"{samples:,} samples, {lost:,} invalid or missing"
        output.line(f"    {why} ({counts})" if samples or lost else f"    {why}")


def _gap_key(row: DriftRow) -> tuple[str, str]:
    return row.verdict.cryostat, row.verdict.why


def _steady(output: Output, rows: Sequence[DriftRow], *, show_all: bool) -> None:
    if show_all:
        for row in rows:
            one = row.verdict
            who = one.device or "(shared)"
            gaps = f", {one.gaps} of {one.blocks + one.gaps} blocks missing" if one.gaps else ""
            note = f"; {one.why}" if one.why else ""
            text = f"{one.cryostat or '-'} {who}: {one.metric}: evidence {one.evidence:,.0f}"
            output.status(Status.OK, "steady", f"{text}{gaps}{note}")
    elif rows:
        holed = sum(bool(row.verdict.gaps) for row in rows)
        shown = f"{len(rows)} series" + (f", {holed} of them with gaps" if holed else "")
        output.status(Status.OK, "steady", f"{shown} (--all shows them)")


def _promise(output: Output, report: DriftReport) -> None:
    judged = sum(row.verdict.judged_days > 0 for row in report.rows)
    if not judged:
        output.line("Nothing could be judged: that is not the same as no drift.")
        return
    chance = report.false_alarms
    expected = f"at most {chance:.2g} are expected in this report when nothing drifts"
    output.line(
        f"Judged: {judged} series, {report.judged_days:,.0f} days in all. With one false alarm in "
        f"{report.rule.one_in_days:,.0f} days {expected}."
    )


def _names(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} more"


def _time(t_s: float) -> str:
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%d %H:%MZ")
