"""A report of drift as JSON, for programs."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.engine.drift_search import DriftReport, DriftRow
    from cryofw.engine.release_timeline import ReleaseSpell


def drift_json(report: DriftReport) -> dict[str, object]:
    """The report as plain JSON; times are RFC 3339."""
    rule = report.rule
    return {
        "source": report.source,
        "start": _stamp(rule.start_s),
        "baseline_until": _stamp(rule.judged_s),
        "end": _stamp(rule.end_s),
        "one_in_days": rule.one_in_days,
        "judged_days": _number(report.judged_days),
        "false_alarms_expected_at_most": _number(report.false_alarms),
        "series": [_row_json(row) for row in report.rows],
    }


def _row_json(row: DriftRow) -> dict[str, object]:
    one = row.verdict
    shown: dict[str, object] = {
        "cryostat": one.cryostat or None,
        "device": one.device or None,
        "shared": one.is_shared,
        "metric": one.metric,
        "unit": row.metric.unit if row.metric else None,
        "finding": one.finding.value,
        "why": one.why,
        "evidence": _number(one.evidence),
        "judged_days": _number(one.judged_days),
        "block_s": one.block_s,
        "blocks": one.blocks,
        "gaps": one.gaps,
        "samples": one.samples,
        "invalid": one.invalid,
        "missing": one.missing,
        "neighbours": list(one.neighbours),
    }
    if (drift := one.drift) is not None and row.origin is not None and row.proposal is not None:
        shown |= {
            "drift": _number(drift.size),
            "own_drift": _number(drift.own),
            "per_day": _number(drift.per_day),
            "gradual": drift.gradual,
            "began": _stamp(drift.began_s),
            "began_earliest": _stamp(drift.earliest_s),
            "began_latest": _stamp(drift.latest_s),
            "alarm": _stamp(drift.alarm_s),
            "release": _spell_json(row.origin.release),
            "release_began_then": row.origin.with_release,
            "others_with_release": dict(
                zip(("drifting", "still"), row.origin.company, strict=True)
            ),
            "release_before": _spell_json(row.origin.before),
            "cooldown": row.origin.cooldown or None,
            "cooldown_began_then": row.origin.with_cooldown,
            "proposal": row.proposal.step.value,
            "because": row.proposal.why,
        }
    return shown


def _spell_json(spell: ReleaseSpell | None) -> dict[str, object] | None:
    if spell is None or not spell.hash:
        return None
    since = _stamp(spell.t_s) if spell.installed else None
    return {"version": spell.version, "hash": spell.hash, "since": since, "rollout": spell.rollout}


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _stamp(t_s: float) -> str:
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
