"""What follows from the devices of a stage: waves, gates, pauses, and the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.fleet import Reach
from cryofw.health import Symptom
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout.cryostat_decision import pause_for_cryostats
from cryofw.rollout.device_state import GOOD, SETTLED, DeviceState
from cryofw.rollout.heat_share import heat_held_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.rollout.plan import PlannedStage
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState

Next = e.Event | c.Command | None


def next_for_rollout(state: RolloutState) -> Next:
    """The next decision about the rollout as a whole, once no device has one."""
    if not state.started or state.ended or state.paused:
        return None
    if state.ending is e.Ending.STOPPED:
        return _name_unfinished(state) or _end(state)
    if state.pausing:
        return None if state.roster.busy else e.RolloutPaused("operator", state.paused_why)
    late = pause_for_cryostats(state)
    if late is not None:
        return late
    if state.ending is not None:
        return _wind_down(state)
    stage = state.stage
    if stage is None:
        return _approved(state, state.plan.stages[0], None)
    if any(not _is_settled(d) for d in state.roster.doomed.values()):
        return None
    if stage.name in state.gates_passed:
        return _after_gate(state, stage)
    if state.wave_index < 0:
        return _after_check(state, stage)
    return _after_wave(state, stage)


def _name_unfinished(state: RolloutState) -> Next:
    """After a stop: who is on the way, and what becomes of it."""
    for device in state.devices.values():
        if device.sent and device.torn and not device.quarantined:
            hint = "give it its coefficients by hand, or `cryofw rollback` takes both back"
            return e.DeviceQuarantined(device.name, "left with a torn pair by the stop", hint)
        if device.sent and device.state not in SETTLED and not device.quarantined:
            hint = (
                "if it knows leases it goes back by itself when its lease has run out; else "
                "cycle its power; then `cryofw rollback`, and once you have seen to it "
                f"`cryofw quarantine clear {device.name}`"
            )
            return e.DeviceQuarantined(device.name, f"left {device.state} by the stop", hint)
    return None


def _after_check(state: RolloutState, stage: PlannedStage) -> Next:
    devices = state.roster.of_stage(stage)
    if state.roster.any(f"unchecked {stage.name}", devices, _is_unchecked):
        return None
    refused = [d for d in devices if d.state is _S.REFUSED]
    if refused:
        why = "; ".join(f"{d.name}: {d.why}" for d in refused[:5])
        return e.GateFailed(stage.name, f"{len(refused)} refused before anything was sent: {why}")
    reachable = sum(1 for d in devices if d.state is not _S.UNREACHABLE)
    if reachable == 0 or reachable < stage.min_reachable * len(devices):
        why = f"{reachable} of {len(devices)} devices answer, {stage.min_reachable:.0%} needed"
        return e.GateFailed(stage.name, why)
    return _next_wave(state, stage, 1)


def _closed(state: RolloutState, stage: PlannedStage) -> Next:
    """A pause while the stage's maintenance window is closed."""
    if stage.window is None or state.window_open is not False or state.now_s is None:
        return None
    opens = stage.window.next_open(datetime.fromtimestamp(state.now_s, UTC))
    when = f"opens {opens:%a %Y-%m-%d %H:%M} UTC" if opens else "does not open again"
    return e.RolloutPaused("window", f"the window of stage {stage.name} {when}", stage.name)


def _next_wave(state: RolloutState, stage: PlannedStage, wave: int) -> Next:
    if state.window_open:
        return e.WaveStarted(stage.name, wave, len(stage.waves), len(stage.waves[wave - 1]))
    return _closed(state, stage)


def _after_wave(state: RolloutState, stage: PlannedStage) -> Next:
    members, started = (
        state.roster.of_stage(stage), state.roster.size_until(stage, state.wave_index)
    )  # fmt: skip
    if state.roster.any(f"unfinished {stage.name}", members, _is_unfinished, started):
        closed = _closed(state, stage)
        if closed is None:
            return _starved(state, stage, members, started)
        if state.roster.any(
            f"moves {stage.name}", members, lambda d: not (d.done or _waits(state, d)), started
        ):
            return None
        return closed
    devices = members[:started]
    lost = [d for d in devices if d.lost]
    if lost:
        names = ", ".join(d.name for d in lost)
        return e.RolloutPaused("device", f"lost after something was sent: {names}", stage.name)
    whole = stage.on_failure in (Reach.STAGE, Reach.ROLLOUT)
    if whole and any(d.bad for d in devices):
        return _gate(state, stage)
    if state.wave_index + 1 < len(stage.waves):
        return _next_wave(state, stage, state.wave_index + 2)
    return _gate(state, stage)


def _starved(
    state: RolloutState, stage: PlannedStage, members: Sequence[DeviceProgress], started: int
) -> Next:
    """A pause, once all that is left to do waits for the heat of devices that were given up."""

    def goes_on(device: DeviceProgress) -> bool:
        return not (device.done or heat_held_by(state, device))

    if state.roster.any(f"has heat {stage.name}", members, goes_on, started):
        return None
    waiting = {d.name: heat_held_by(state, d) for d in members[:started] if not d.done}
    holders = sorted({name for names in waiting.values() for name in names})
    why = (
        f"{', '.join(holders)} may still flash and so holds the heat budget that "
        f"{', '.join(waiting)} waits for; see to it, then `cryofw quarantine clear`, or abort"
    )
    return e.RolloutPaused("device", why, stage.name)


def _waits(state: RolloutState, device: DeviceProgress) -> bool:
    """Ready for its next flash, and nothing under way on it."""
    cohort = state.cohorts.of(device.name)
    baseline = cohort is None or cohort.frozen or cohort.baseline_complete
    ready = device.state is _S.UPLOADED or (device.state is _S.CHECKED and baseline)
    return ready and not device.intent


def _gate(state: RolloutState, stage: PlannedStage) -> Next:
    devices = state.roster.of_stage(stage)
    counts: dict[str, int] = {}
    for device in devices:
        counts[device.state.value] = counts.get(device.state.value, 0) + 1
    good = [d for d in devices if d.state in GOOD]
    bad = [d for d in devices if d.bad]
    evidence: dict[str, object] = {"states": counts, "min_reachable": stage.min_reachable}
    if accepted := {d.name: d.accepted for d in good if d.accepted}:
        evidence["accepted"] = accepted
    if bad:
        why = "; ".join(f"{d.name} {d.state}: {d.why}" for d in bad[:5])
        return e.GateFailed(stage.name, why, evidence)
    if not good:
        return e.GateFailed(stage.name, "no device proved the firmware good", evidence)
    return e.GatePassed(stage.name, evidence)


def _after_gate(state: RolloutState, stage: PlannedStage) -> Next:
    past = state.plan.stages[: state.stage_index + 1]
    if state.roster.bad and (bad := [d for s in past for d in state.roster.of_stage(s) if d.bad]):
        why = "; ".join(f"{d.name} {d.state}: {d.why}" for d in bad[:5])
        return e.GateFailed(stage.name, f"since it passed: {why}")
    if any(
        state.roster.any(f"not heard {s.name}", state.roster.of_stage(s), _is_not_heard)
        for s in past
    ):
        return None  # nothing is built on a device that is not heard
    if state.stage_index + 1 == len(state.plan.stages):
        return _end(state)
    following = state.plan.stages[state.stage_index + 1]
    names = [s.name for s in state.plan.stages]
    if state.until and state.stage_index >= names.index(state.until):
        return e.RolloutPaused("stage", f"stage {stage.name} passed, as far as asked", stage.name)
    return _approved(state, following, stage)


def _approved(state: RolloutState, stage: PlannedStage, before: PlannedStage | None) -> Next:
    """The start of a stage, or a pause until enough people have approved it."""
    signed = state.plan.policy is not None and state.approvals.needed(stage, before)
    if signed and state.now_s is None:
        return None  # signed approvals end at a time, and the clock will tell it
    if why := state.approvals.missing(stage, before, state.now_s):
        return e.RolloutPaused("approval", why, stage.name)
    return e.StageStarted(stage.name, before.name if before else "")


def _wind_down(state: RolloutState) -> Next:
    if state.roster.any("winds down", state.everyone, _is_under_way):
        return None
    stage = state.stage
    open_gate = stage is not None and stage.name not in state.gates_passed
    if stage is not None and open_gate and not state.gate_failed:
        return e.GateFailed(stage.name, state.why)
    return _end(state)


def _is_unchecked(device: DeviceProgress) -> bool:
    return bool(device.intent) or device.state is _S.PENDING


def _is_unfinished(device: DeviceProgress) -> bool:
    return not device.done


def _is_not_heard(device: DeviceProgress) -> bool:
    return not device.done or device.watch.symptom is Symptom.SILENT


def _is_under_way(device: DeviceProgress) -> bool:
    return bool(device.intent) or not _is_settled(device)


def _is_settled(device: DeviceProgress) -> bool:
    """Nothing is under way on it and nothing has to be undone."""
    return device.done or device.untouched or (device.state is _S.CHECKED and not device.doom)


def _end(state: RolloutState) -> Next:
    devices = state.everyone
    counts: dict[str, int] = {}
    for device in devices:
        counts[device.state.value] = counts.get(device.state.value, 0) + 1
    ending = state.ending or e.Ending.CONFIRMED
    if ending is not e.Ending.STOPPED and any(d.state is _S.STUCK or d.lost for d in devices):
        ending = e.Ending.STUCK
    elif ending is e.Ending.ROLLED_BACK and not any(d.sent for d in devices):
        ending = e.Ending.REFUSED
    why = state.why or f"{state.plan.release.version} runs, proven good, on every device"
    return e.RolloutEnded(ending.value, why, {"states": counts})
