"""What a stream says, for the journal and for an engineer: finding, sentence and numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cryofw.health.bound import bound_of
from cryofw.health.figure import figure, signed
from cryofw.health.noise import TOLERATED
from cryofw.health.rule import fine_threshold, look_level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.health.stream import CalibrationStream

_SUSPECT = 0.1  # of the threshold: a bet that stands so high forbids to pass
_NAMED = 4  # metrics that one line has room for


class Shift(StrEnum):
    """What one metric says."""

    FINE = "fine"
    REGRESSED = "regressed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class MetricFinding:
    """One metric's finding with its numbers (plain JSON) and one sentence."""

    metric: str
    shift: Shift
    reason: str
    evidence: Mapping[str, Any]


def finding_of(stream: CalibrationStream) -> MetricFinding:
    """Regressed when a bet was won, Fine when worse by reject is excluded, else Undecided."""
    name, reject = stream.rule.metric.name, stream.rule.metric.reject
    numbers = evidence_of(stream)
    if lost := stream.regressed:
        return MetricFinding(name, Shift.REGRESSED, _alarm(stream, lost), numbers)
    if reason := open_reason(stream):
        return MetricFinding(name, Shift.UNDECIDED, f"{name}: {reason}", numbers)
    return MetricFinding(name, Shift.FINE, f"{_shift(stream)} excludes {reject:g} worse", numbers)


def open_reason(stream: CalibrationStream) -> str:
    """Why the stream may not pass; empty when it may."""
    rule, shift = stream.rule, stream.shift
    if stream.baseline_count < max(2, rule.baseline_samples):
        return f"only {stream.baseline_count} of {rule.baseline_samples} baseline samples"
    if shift is None or stream.count < rule.min_samples:
        return f"only {stream.count} of {rule.min_samples} samples"
    if not shift.length:
        return "the baseline's noise is too slow for its length: take a longer baseline"
    if stream.e_value >= _SUSPECT * rule.shift_threshold:
        return f"a bet against the firmware stands at {figure(stream.e_value)}: more samples decide"
    if not stream.excludes_reject:
        return f"{_shift(stream)} does not exclude {rule.metric.reject:g} worse"
    if stream.bound is not None and stream.bound.within < 1 / rule.beta:
        return "it is not shown to lie within its absolute bound"
    return ""


def _alarm(stream: CalibrationStream, lost: str) -> str:
    rule, metric = stream.rule, stream.rule.metric
    if lost == "noise":
        assert stream.noise_test is not None
        ratio = stream.noise_test.ratio or 0.0
        what = f"the noise of {metric.name} is {ratio:.2g} times what it was"
        return f"{what}; {bet_words(stream.noise_test.peak, rule.noise_threshold)}"
    if lost == "bound":
        assert stream.bound is not None
        bound = metric.harm(bound_of(metric, rule.golden) or 0.0)
        blocks = f"{stream.bound.outside} of {stream.bound.blocks} blocks"
        what = f"{metric.name} lies beyond {bound:g} {metric.unit} in {blocks}"
        return f"{what}; {bet_words(stream.bound.peak, rule.bound_threshold)}"
    what = f"{_excess(stream)} is beyond the margin {metric.margin:g} {metric.unit}"
    return f"{what}; {bet_words(stream.e_peak, rule.shift_threshold)}"


def _excess(stream: CalibrationStream) -> str:
    """The shift since it began: what was good before it does not make it smaller."""
    count, level = stream.beyond
    of = f"n={count}" if count == stream.count else f"last {count} of {stream.count} samples"
    return _shift_to(stream, level, of)


def _shift(stream: CalibrationStream) -> str:
    return _shift_to(stream, stream.after, f"n={stream.count}")


def _shift_to(stream: CalibrationStream, level: float, of: str) -> str:
    metric = stream.rule.metric
    against = f" against {', '.join(stream.controls)}" if stream.controls else ""
    return (
        f"{metric.name} {level - stream.before:+.3g} {metric.unit}{against} "
        f"({stream.before:.4g} -> {level:.4g}, {of})"
    )


def compared_words(findings: Sequence[MetricFinding]) -> str:
    """What moved by how much, and against whom, of findings that passed; for one line."""
    numbers = [finding.evidence for finding in findings]
    shifts = [f"{f.metric} {shift_words(n)}" for f, n in zip(findings, numbers, strict=True)]
    more = len(shifts) - _NAMED
    named = ", ".join(shifts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    counts = [int(n.get("n_after", 0)) for n in numbers]
    samples = "-".join(str(c) for c in sorted({min(counts), max(counts)}))
    controls = sorted({str(c) for n in numbers for c in n.get("controls", ())})
    against = ", ".join(controls) or "their own baselines"
    return f"{named} (n={samples}) against {against}"


def shift_words(numbers: Mapping[str, Any]) -> str:
    """A metric's shift and unit, to the digits that its noise leaves; from its evidence."""
    before, after = numbers.get("before"), numbers.get("after")
    if before is None or after is None:
        return "unknown"
    counts = [int(numbers.get(name) or 0) for name in ("n_before", "n_after")]
    sd = float(numbers.get("sd") or 0.0)
    error = sd * math.sqrt(sum(1 / n for n in counts)) if all(counts) else None
    return f"{signed(after - before, error)} {numbers.get('unit', '')}".rstrip()


_ODDS = re.compile(r"; a 1-unit bet against the firmware .*? at most")
_BEATS = re.compile(r": a 1-unit bet against the device's answers [^;]*")
_DETAIL = re.compile(r"(?: against [^();]+)? \([^();]*->[^();]*\)")


def bet_words(won: float, threshold: float) -> str:
    """What an e-value means, for an engineer."""
    return (
        f"a 1-unit bet against the firmware grew to {figure(won)} units; the alarm is at "
        f"{figure(threshold)}, which a good firmware reaches in 1 of {figure(threshold)} cases at "
        "most"
    )


def in_short(reason: str) -> str:
    """`reason` of a finding without its odds and details, where it is told once more.

    Knows the words of older journals too; any other text is left as it is.
    """
    return _DETAIL.sub("", _BEATS.sub("", _ODDS.sub("", reason)))


def evidence_of(stream: CalibrationStream) -> dict[str, object]:
    """The numbers, plain JSON."""
    rule, metric, shift = stream.rule, stream.rule.metric, stream.shift
    numbers: dict[str, object] = {
        "rule": rule.method.value,
        "unit": metric.unit,
        "before": _round(stream.before),
        "after": _round(stream.after),
        "sd": _round(stream.noise),
        "n_before": stream.baseline_count,
        "n_after": stream.count,
        "n_beyond": stream.beyond[0],
        "beyond": _round(stream.beyond[1]),
        "margin": metric.margin,
        "reject": metric.reject,
        "limit": metric.limit,
        "controls": list(stream.controls),
        "e": _round(stream.e_value),
        "e_peak": _round(stream.e_peak),
        "e_needed": _round(rule.shift_threshold),
    }
    if shift is not None:
        numbers["block"] = shift.length
        numbers["blocks_before"] = len(shift.base_blocks)
        numbers["blocks_after"] = len(shift.blocks)
        numbers["e_fine"] = _round(shift.wagers[1].peak)
        numbers["e_fine_needed"] = _round(fine_threshold(rule.beta))
    if stream.looks:
        numbers["p_fine"] = _round(stream.p_fine)
        numbers["p_fine_needed"] = _round(look_level(rule.beta, stream.looks))
    if stream.noise_test is not None:
        numbers["noise_ratio"] = _round(stream.noise_test.ratio)
        numbers["noise_tolerated"] = TOLERATED
        numbers["noise_e"] = _round(stream.noise_test.peak)
        numbers["noise_e_needed"] = _round(rule.noise_threshold)
    if stream.bound is not None:
        numbers["golden"] = rule.golden
        numbers["beyond_bound"] = [stream.bound.outside, stream.bound.blocks]
        numbers["bound_e"] = _round(stream.bound.peak)
        numbers["bound_e_needed"] = _round(rule.bound_threshold)
    return numbers


def _round(value: float | None) -> float | None:
    """Six digits; what is not finite is null in JSON."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
