"""What `cryofw gate` shows of a backtest: one sentence, tables, and JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.cli.output import Status
from cryofw.engine.backtest import hours
from cryofw.engine.tune import HELD
from cryofw.health.backtest_summary import (
    by_wave,
    false_by_stream,
    false_share,
    held_share,
    replays_for,
)
from cryofw.health.ledger import StreamKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.cli.output import Output
    from cryofw.engine.backtest import Backtest
    from cryofw.fleet import Fleet
    from cryofw.health.backtest_summary import Detection, Share, WaveCount

_SHOWN = 5
_KINDS = {
    StreamKind.SHIFT: "shift of one device",
    StreamKind.POOLED: "shift of a stage together",
    StreamKind.NOISE: "more noise",
    StreamKind.BOUND: "beyond its limit",
    StreamKind.HEARTBEAT: "heartbeats",
}


def show_backtest(output: Output, fleet: Fleet, result: Backtest) -> None:
    """For people."""
    false, held = false_share(result.rollouts), held_share(result.rollouts)
    status = Status.WARNING if result.absent_devices or result.absent_metrics else Status.OK
    if false.interval[0] > result.false_rollback or held.interval[0] > HELD:
        status = Status.WARNING
    output.status(status, "backtest", sentence(fleet, result))
    output.line()
    _show_waves(output, by_wave(result.rollouts))
    _show_alarms(output, result)
    _show_held(output, result)
    _show_detections(output, fleet, result)
    _show_notes(output, result)


def sentence(fleet: Fleet, result: Backtest) -> str:
    """All of it in one sentence."""
    false, held = false_share(result.rollouts), held_share(result.rollouts)
    text = (
        f"with this fleet.yaml, of {false.total} rollouts replayed on healthy data"
        f"{_part(fleet, result)}, {false.count} would have been rolled back by mistake "
        f"({at_most(false)}), {held.count} held"
    )
    seen = _most_telling(result)
    if seen is None:
        return text
    unit = _units(fleet).get(seen.metric, "")
    what = f"{seen.metric} worse by {seen.shift:.3g} {unit}".rstrip()
    if seen.median_s is None:
        return f"{text}; {what} would not be seen on {seen.stage}"
    when = f"{hours(seen.median_s)} on {seen.stage} ({seen.found.count} of {seen.found.total})"
    return f"{text}; {what} would be seen in a median of {when}"


def _part(fleet: Fleet, result: Backtest) -> str:
    """How much of the fleet was recorded, unless all of it was."""
    if not result.absent_devices and not result.absent_metrics:
        return ""
    devices, metrics = len(result.devices), len(_units(fleet))
    there = metrics - len(result.absent_metrics)
    everybody = devices + len(result.absent_devices)
    return f" ({devices} of {everybody} devices, {there} of {metrics} metrics)"


def _most_telling(result: Backtest) -> Detection | None:
    """The first shift in the first stage."""
    stages = [one for _, found in result.shifted for one in found if not one.number]
    return stages[0] if stages else None


def at_most(share: Share) -> str:
    """The 95 % interval of a share, in words."""
    low, high = share.interval
    if share.count:
        return f"{_percent(low)} to {_percent(high)}"
    return f"at most {_percent(high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _units(fleet: Fleet) -> dict[str, str]:
    return {n: m.unit for one in fleet.controllers for n, m in one.calibration.metrics.items()}


def _show_waves(output: Output, waves: Sequence[WaveCount]) -> None:
    header = ("stage", "wave", "replays", "rolled back", "95 %", "held", "passed later")
    rows = [
        (one.stage, str(one.number), str(one.false.total), str(one.false.count),
         at_most(one.false), str(one.held.count), str(one.passed_later))
        for one in waves
    ]  # fmt: skip
    output.table(header, rows)


def _show_alarms(output: Output, result: Backtest) -> None:
    streams = false_by_stream(result.rollouts)
    if not streams:
        return
    output.line()
    rows = [
        (metric, _KINDS[kind], f"{share.count} of {share.total}", at_most(share))
        for (metric, kind), share in streams.items()
    ]
    output.table(("metric", "alarm", "rollouts", "95 %"), rows)
    alarms = [pair for one in result.rollouts for pair in one.alarms]
    for wave, alarm in alarms[:_SHOWN]:
        who = alarm.device or f"stage {wave.replay.stage}"
        output.line(f"  {_moment(wave.start_s)}  {who}: {alarm.reason}")
    if len(alarms) > _SHOWN:
        output.line(f"  and {len(alarms) - _SHOWN} more: --json has them all")


def _moment(t_s: float) -> str:
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%d %H:%MZ")


def _show_held(output: Output, result: Backtest) -> None:
    held = [wave for one in result.rollouts for wave in one.waves if wave.replay.outcome == "held"]
    if not held:
        return
    output.line()
    for wave in held[:_SHOWN]:
        output.line(f"  held {_moment(wave.start_s)}  {wave.replay.why}")
    if len(held) > _SHOWN:
        output.line(f"  and {len(held) - _SHOWN} more: --json has them all")


def _show_detections(output: Output, fleet: Fleet, result: Backtest) -> None:
    """One row for each metric and shift, one column for each stage."""
    units = _units(fleet)
    found = [(scenario.label, d) for scenario, all_ in result.shifted for d in all_ if not d.number]
    stages = list(dict.fromkeys(one.stage for _, one in found))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for label, one in found:
        size = f"{one.shift:.3g} {units.get(one.metric, '')}".rstrip()
        what = f"{size} ({label})"
        rows.setdefault((one.metric, what), {})[one.stage] = _detected(one)
    output.line()
    output.table(
        ("metric", "worse by", *(f"seen on {stage}" for stage in stages)),
        [(*key, *(cells.get(stage, "-") for stage in stages)) for key, cells in rows.items()],
    )


def _detected(one: Detection) -> str:
    """In how many replays of the stage, how soon, and how often it passed for good."""
    words = f"{one.found.count} of {one.found.total}"
    if one.median_s is not None:
        words += f" in {hours(one.median_s)}"
    return f"{words}, {one.missed} passed" if one.missed else words


def _show_notes(output: Output, result: Backtest) -> None:
    """What the numbers rest on."""
    false = false_share(result.rollouts)
    need = replays_for(result.false_rollback)
    output.line()
    notes = [
        f"{hours(result.recorded_s)} recorded; a rollout takes {hours(result.rollout_s)} of them",
        "no sample serves two rollouts; a stage that raises no alarm is held or passes",
        "the time to an alarm (median) begins with the first sample that counts in the stage",
    ]
    if false.total < need:
        bound = _percent(result.false_rollback)
        notes.append(
            f"to show that at most {bound} go back by mistake takes {need} rollouts without one; "
            f"this is {false.total}"
        )
    if result.absent_devices:
        notes.append(f"not in the recording: {', '.join(result.absent_devices)}")
    if result.absent_metrics:
        notes.append(f"not in the recording: {', '.join(result.absent_metrics)}")
    notes.append("heartbeats, guards and flash times are not replayed")
    for note in notes:
        output.line(f"  {note}")


# --- for programs ---------------------------------------------------------------------------


def backtest_json(fleet: Fleet, result: Backtest) -> dict[str, object]:
    """For programs; shares are [count, total, lower, upper]."""
    return {
        "sentence": sentence(fleet, result),
        "false_rollback": result.false_rollback,
        "rollouts": len(result.rollouts),
        "false": share_json(false_share(result.rollouts)),
        "held": share_json(held_share(result.rollouts)),
        "replays_needed": replays_for(result.false_rollback),
        "recorded_s": result.recorded_s,
        "rollout_s": result.rollout_s,
        "devices": list(result.devices),
        "absent_devices": list(result.absent_devices),
        "absent_metrics": list(result.absent_metrics),
        "noise": dict(result.noise),
        "waves": [
            {"stage": one.stage, "wave": one.number, "false": share_json(one.false),
             "held": share_json(one.held), "passed_later": one.passed_later}
            for one in by_wave(result.rollouts)
        ],
        "streams": [
            {"metric": metric, "kind": kind.value, "false": share_json(share)}
            for (metric, kind), share in false_by_stream(result.rollouts).items()
        ],
        "alarms": [
            {"t": wave.start_s, "stage": wave.replay.stage, "wave": wave.replay.number,
             "metric": alarm.metric, "kind": alarm.kind.value, "device": alarm.device or None,
             "after_s": alarm.after_s, "reason": alarm.reason}
            for one in result.rollouts for wave, alarm in one.alarms
        ],
        "held_waves": [
            {"t": wave.start_s, "stage": wave.replay.stage, "wave": wave.replay.number,
             "passed_later": wave.replay.passed_later, "why": wave.replay.why}
            for one in result.rollouts for wave in one.waves if wave.replay.outcome == "held"
        ],
        "shifts": [
            {"label": scenario.label, "metric": one.metric, "shift": one.shift,
             "stage": one.stage, "wave": one.number or None, "found": share_json(one.found),
             "passed": one.missed, "median_s": one.median_s, "delays_s": list(one.delays_s)}
            for scenario, found in result.shifted for one in found
        ],
    }  # fmt: skip


def share_json(share: Share) -> list[float]:
    """Count, total, lower and upper bound."""
    low, high = share.interval
    return [share.count, share.total, round(low, 6), round(high, 6)]
