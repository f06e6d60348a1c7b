"""What a stream says, for the journal and for an engineer: finding, sentence and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.health.bound import bound_of
from cryofw.health.noise import TOLERATED
from cryofw.health.rule import fine_threshold, look_level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.health.stream import CalibrationStream

_SUSPECT = 0.1  # of the threshold: a bet that stands so high forbids to pass


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
    evidence: Mapping[str, object]


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
        return f"a bet against the firmware stands at {stream.e_value:.3g}: more samples decide"
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
    what = f"{_shift(stream)} is beyond the margin {metric.margin:g}"
    return f"{what}; {bet_words(stream.e_peak, rule.shift_threshold)}"


def _shift(stream: CalibrationStream) -> str:
    metric = stream.rule.metric
    against = f" against {', '.join(stream.controls)}" if stream.controls else ""
    return (
        f"{metric.name} {stream.after - stream.before:+.3g} {metric.unit}{against} "
        f"({stream.before:.4g} -> {stream.after:.4g}, n={stream.count})"
    )


def bet_words(won: float, threshold: float) -> str:
    """What an e-value means, for an engineer."""
    return (
        f"a 1-unit bet against the firmware grew to {min(won, 1e9):.4g} units; were the firmware "
        f"fine, it would ever reach {threshold:.4g} with probability {1 / threshold:.2g} at most"
    )


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
