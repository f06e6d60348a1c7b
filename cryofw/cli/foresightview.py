"""What a plan can see, for people and for programs, before anything is flashed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.cli.output import Output, Status
from cryofw.health import StreamKind
from cryofw.health.figure import figure, one_in
from cryofw.rollout.streams import ADVISED_BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryofw.health import AlphaLedger, EvidenceContract, Sight
    from cryofw.rollout.foresight import Foresight, Seen, StageForesight
    from cryofw.rollout.plan import Plan
    from cryofw.rollout.rehearsal import Comparisons

_NAMED = 4
_NOUNS = {
    StreamKind.SHIFT: "shift",
    StreamKind.HEARTBEAT: "heartbeat",
    StreamKind.POOLED: "pool",
    StreamKind.NOISE: "noise",
    StreamKind.BOUND: "limit",
}


def show_outlook(output: Output, plan: Plan, foresight: Foresight) -> None:
    """How long the rollout takes, and what its one alpha is spent on; two rows of the head."""
    stages = [stage.name for stage in plan.stages[:-1] if stage.then_approve]
    waits = [f"a person's approval after {' and '.join(stages)}"] if stages else []
    waits += ["waiting for windows"] if any(stage.window for stage in plan.stages) else []
    took = duration_words(foresight.duration_s)
    output.hanging("  takes    ", ", and ".join([f"about {took}", *waits]), 11)
    output.hanging("  odds     ", _odds(foresight.ledger), 11)


def _odds(ledger: AlphaLedger) -> str:
    spent = ", ".join(
        f"a {noun} {one_in(ledger.alpha[kind])}"
        for kind, noun in list(_NOUNS.items())[:3]
        if kind in ledger.alpha
    )
    return f"{_promise(ledger)}: {spent}"


def _promise(ledger: AlphaLedger) -> str:
    odds, number = 100 * ledger.false_rollback, sum(ledger.streams.values())
    return f"{odds:g} % at most to take back a good firmware, over {number} streams"


def show_stage(output: Output, stage: StageForesight) -> None:
    """What a stage takes, whom it compares with, and what it finds."""
    soak = f"soak {duration_words(stage.soak_s)} a wave"
    first = f"baseline {duration_words(stage.baseline_s)}, " if stage.baseline_s else ""
    took = duration_words(stage.duration_s)
    output.hanging("   takes    ", f"about {took}: {first}{soak}", 12)
    if against := _against(stage.comparisons):
        output.hanging("   against  ", against, 12)
    output.hanging("   finds    ", "; ".join(_finds(stage)), 12)


def _against(compared: Comparisons) -> str:
    """In one line: whose controls are where."""
    steady = set(compared.steady)
    groups = {
        "controls of the same cryostat": [d for d in compared.near if d not in steady],
        "controls of other cryostats": [d for d in compared.far if d not in steady],
        "devices that run the new firmware already": compared.steady,
        "no controls: before is compared with after": compared.alone,
    }
    total = len(compared.controls)
    return "; ".join(f"{w}{_of(devices, total)}" for w, devices in groups.items() if devices)


def _of(devices: Iterable[str], total: int) -> str:
    names = list(devices)
    if len(names) == total:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" ({' '.join(names[:_NAMED])}{more})"


def _finds(stage: StageForesight) -> list[str]:
    known = [seen for seen in stage.seen if seen.smallest is not None]
    words = []
    if known:
        least = min(seen.known for seen in known)
        most = max(seen.devices for seen in known)
        partly = f" (noise known of {least} of {most})" if least < most else ""
        words.append(", ".join(_seen_words(seen, at) for at, seen in enumerate(known)) + partly)
    elif stage.sights:
        words += sorted({_sight_words(sight) for sight in stage.sights.values()})
    if stage.silence is not None:
        after = duration_words(stage.silence.after_s)
        words.append(f"{stage.silence.misses} missed heartbeats ({after})")
    return words


def _seen_words(seen: Seen, at: int = 0) -> str:
    """The first one names what stands behind it."""
    metric, smallest = seen.metric, seen.smallest
    assert smallest is not None
    finds = f"{smallest:.2g} {metric.unit}" if math.isfinite(smallest) else "nothing"
    return f"{metric.name} {finds} ({'' if at else 'reject '}{metric.reject:g})"


def _sight_words(sight: Sight) -> str:
    finds = "no shift" if sight.finds is None else f"a shift of {sight.finds:.2g} sd"
    return f"{finds} beyond the margin; the first baseline tells the sd"


def show_blind_spots(output: Output, foresight: Foresight) -> None:
    """What would be refused once its baseline is taken, as its last one was, or may be."""
    short = {c.baseline_samples for stage in foresight.stages for c in stage.sights}
    if short and min(short) < ADVISED_BASELINE:
        output.status(
            Status.WARNING,
            "short",
            f"baseline_samples: {min(short)} may be too few to judge by, and then a healthy device "
            f"is refused; {ADVISED_BASELINE} or more are safe",
        )
    for stage in foresight.stages:
        blind = [seen for seen in stage.seen if seen.blind]
        if blind:
            what = f"{stage.name}: {', '.join(_seen_words(seen) for seen in blind)}"
            output.status(Status.WARNING, "blind", f"{what}: take a longer baseline or soak")


def show_ledger(output: Output, foresight: Foresight) -> None:
    """The whole of it: what each stream may spend, and what each stage sees from what."""
    ledger = foresight.ledger
    output.line(f"Evidence: {_promise(ledger)}")
    output.line()
    rows = [
        (noun, str(ledger.streams[kind]), one_in(ledger.alpha[kind]),
         figure(ledger.threshold(kind)))
        for kind, noun in _NOUNS.items()
        if kind in ledger.streams
    ]  # fmt: skip
    output.table(("stream", "number", "each may err", "alarm at a bet of"), rows)
    for stage in foresight.stages:
        output.line()
        _show_stage_evidence(output, stage)
    output.line()


def _show_stage_evidence(output: Output, stage: StageForesight) -> None:
    for contract, sight in stage.sights.items():
        output.hanging(f"{stage.name}: ", _contract_words(contract, sight), len(stage.name) + 2)
    if stage.seen:
        rows = [
            (seen.metric.name, _level(seen.metric.margin), _finds_cell(seen),
             _level(seen.metric.reject), _level(seen.metric.limit), seen.metric.unit)
            for seen in stage.seen
        ]  # fmt: skip
        output.table(("metric", "margin", "finds", "reject", "limit", "unit"), rows)
    alike: dict[tuple[str, ...], list[str]] = {}
    for device, controls in stage.comparisons.controls.items():
        alike.setdefault(controls, []).append(device)
    for controls, devices in alike.items():
        names = " ".join(devices)
        already = devices[0] in stage.comparisons.steady
        against = " ".join(controls) or "no controls: before is compared with after"
        more = ", which run the new firmware already" if already else ""
        output.hanging(f"  {names}  against  ", against + more, len(names) + 13)


def _contract_words(contract: EvidenceContract, sight: Sight) -> str:
    finds = "no shift is found" if sight.finds is None else (
        f"a shift {sight.finds:.2g} sd beyond the margin is found in 90 % of cases"
    )  # fmt: skip
    clears = "none passes" if sight.clears is None else (
        f"a healthy device passes in 95 % where reject is {sight.clears:.2g} sd"
    )  # fmt: skip
    samples = f"{contract.baseline_samples} samples before and {contract.planned_samples} after"
    return f"{samples}; {finds}; {clears}"


def _finds_cell(seen: Seen) -> str:
    if seen.smallest is None:
        return "-"
    return f"{seen.smallest:.3g}" if math.isfinite(seen.smallest) else "nothing"


def _level(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def foresight_json(foresight: Foresight) -> dict[str, object]:
    """The same for programs; seconds, and shifts in the metric's unit."""
    ledger = foresight.ledger
    return {
        "duration_s": round(foresight.duration_s),
        "false_rollback": ledger.false_rollback,
        "streams": {
            kind: {"number": count, "alpha": ledger.alpha[kind],
                   "threshold": ledger.threshold(StreamKind(kind))}
            for kind, count in ledger.streams.items()
        },
        "stages": {stage.name: _stage_json(stage) for stage in foresight.stages},
    }  # fmt: skip


def _stage_json(stage: StageForesight) -> dict[str, object]:
    compared, silence = stage.comparisons, stage.silence
    return {
        "duration_s": round(stage.duration_s),
        "baseline_s": stage.baseline_s,
        "soak_s": stage.soak_s,
        "sights": [
            {"baseline_samples": contract.baseline_samples, "samples": contract.planned_samples,
             "finds_sd": sight.finds, "clears_sd": sight.clears}
            for contract, sight in stage.sights.items()
        ],
        "finds": {
            seen.metric.name: {
                "smallest": _finite(seen.smallest), "unit": seen.metric.unit,
                "margin": seen.metric.margin, "reject": seen.metric.reject,
                "known": seen.known, "devices": seen.devices, "blind": seen.blind,
            }
            for seen in stage.seen
        },
        "silence": None if silence is None else {
            "misses": silence.misses, "after_s": silence.after_s,
        },
        "controls": {name: list(names) for name, names in compared.controls.items()},
        "alone": list(compared.alone),
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def some(names: Sequence[str], most: int = 12) -> str:
    """The names, or of very many the first ones and their number."""
    if len(names) <= most:
        return " ".join(names)
    return f"{' '.join(names[: most - 4])} ... ({len(names)})"


def duration_words(seconds: float) -> str:
    """So long, to the minute; beyond four hours to five of them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    step = 5 if seconds > 4 * 3600 else 1
    hours, minutes = divmod(step * round(seconds / 60 / step), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
