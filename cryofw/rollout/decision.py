"""What follows from a rollout's state: the next decision or command, one at a time.

Nothing here remembers anything: asked again about the same state, it answers the same. That is
why a rollout can be resumed at any point by folding its journal and asking once more.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.fleet import Reach
from cryofw.health import Outcome, Symptom
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout import recalibration, voices
from cryofw.rollout.coefficient_decision import apply_on_trial, mend, read_before
from cryofw.rollout.cryostat_decision import is_blocked, pause_for_cryostats
from cryofw.rollout.device_state import GOOD, SETTLED, DeviceState

if TYPE_CHECKING:
    from cryofw.health import Cohort, Verdict
    from cryofw.rollout.plan import PlannedStage
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState
_MAX_CONFIRM_REFUSALS = 2
_BASELINE_PATIENCE = 3
_BLIND = (
    "take a longer baseline (baseline_samples) or soak, or allow more (reject); "
    "`cryofw gate tune` proposes numbers"
)

Next = e.Event | c.Command | None


def next_for_device(state: RolloutState, device: DeviceProgress) -> Next:
    """The next decision or command about one device, or None when there is nothing to do."""
    if device.intent or state.ending is e.Ending.STOPPED:
        return None
    if (mended := mend(device)) is not None:
        return mended  # before a pause too: a torn pair must not wait for a person
    if state.pausing:
        return None
    if device.failure and not device.spread:
        return _spread(state, device)
    decide = _BY_STATE.get(device.state)
    return None if decide is None else decide(state, device)


def _spread(state: RolloutState, device: DeviceProgress) -> Next:
    reached = [p for p in state.members(state.within_reach(device)) if p.sent]
    stage = state.plan.stage(device.planned.stage)
    return e.FailureSpread(
        device.name, stage.on_failure.value, stage.name, len(reached), device.failure
    )


def _check(state: RolloutState, device: DeviceProgress) -> Next:
    stage = state.stage
    if device.doom and device.sent:
        return _revert(state, device)
    if stage is None or device.doom or state.ending or device.planned.stage != stage.name:
        return None
    return c.CheckDevice(device.name)


def _upload(state: RolloutState, device: DeviceProgress) -> Next:
    if recalibration.is_due_first(state, device):
        return recalibration.before_baseline(state, device)
    stage = state.stage
    in_turn = stage is not None and any(
        device.name in wave for wave in stage.waves[: state.wave_index + 1]
    )
    if device.doom or state.ending or not in_turn:
        if device.doom and device.sent:
            return e.DeviceAbandoned(device.name, device.doom)
        return None
    cohort = state.cohorts.of(device.name)
    if cohort is not None and not cohort.frozen:
        if recalibration.awaits_others(state, (*cohort.rule.devices, *cohort.rule.controls)):
            return None
        if not cohort.has_baseline(device.name):
            return _no_baseline(state, device, cohort)
        if not cohort.baseline_complete:  # of the others
            return None
    if not (state.window_open and has_heat_slot(state, device)):
        return None
    if cohort is not None and not cohort.frozen:
        return e.CohortFrozen(cohort.rule.name, cohort.rule.devices, cohort.rule.controls)
    if not device.baseline_taken:
        return e.BaselineTaken(device.name, _baseline(device, cohort))
    if blind := state.cohorts.refusal(device.name):
        return e.DeviceRefused(device.name, f"its evidence would decide nothing: {blind}", _BLIND)
    return c.UploadImage(device.name, device.new_hash, device.planned.running_hash, device.attempt)


def _baseline(device: DeviceProgress, cohort: Cohort | None) -> dict[str, object]:
    """The baseline of each metric, and what can be seen from it."""
    if cohort is None:
        return {"samples": {}}
    metrics: dict[str, object] = {}
    for name, (sight, deviation) in cohort.sights(device.name).items():
        stream = cohort.streams(device.name)[name]
        sees = sight.smallest_shift(stream.rule.metric, deviation)
        metrics[name] = {
            "samples": stream.baseline_count,
            "mean": _round(stream.before),
            "sd": _round(stream.noise),
            "block": sight.block,
            "sees": _round(sees),
        }
    counts = {name: stream.baseline_count for name, stream in cohort.streams(device.name).items()}
    return {"samples": counts, "controls": list(cohort.rule.controls), "metrics": metrics}


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _no_baseline(state: RolloutState, device: DeviceProgress, cohort: Cohort) -> Next:
    """A device without a baseline cannot be judged, so it must not be updated."""
    need, asked = cohort.rule.baseline_samples, state.cohorts.asked(device.name)
    if asked < _BASELINE_PATIENCE * need:
        return None
    metrics = [metric.name for metric in cohort.rule.metrics]
    counts = ", ".join(f"{m} {cohort.baseline_count(device.name, m)}" for m in metrics)
    against = f" together with {', '.join(cohort.rule.controls)}" if cohort.rule.controls else ""
    why = f"no baseline: {asked} samples asked, {need} fresh needed{against}: {counts}"
    gaps = "; ".join(f"{name} is {gap}" for name, gap in sorted(device.watch.gaps.items()))
    return e.DeviceRefused(device.name, why, gaps or "see why its metrics are missing or stale")


def has_heat_slot(state: RolloutState, device: DeviceProgress, *, back: bool = False) -> bool:
    """One more flash in the device's cryostat stays within the heat budget and its guards.

    `back`: it brings the last good image back, and waits for no experiment.
    """
    cryostat = device.planned.cryostat
    hot = sum(1 for p in state.devices.values() if p.planned.cryostat == cryostat and p.hot)
    guard = state.guards.get(cryostat)
    return hot < state.plan.heat_slots[cryostat] and (guard is None or guard.admits(hot, back=back))


def _test(state: RolloutState, device: DeviceProgress) -> Next:
    if device.doom or state.ending:
        return e.DeviceAbandoned(device.name, device.doom or state.why)
    if not state.window_open:
        return None
    return _test_again(state, device)


def _test_again(state: RolloutState, device: DeviceProgress) -> Next:
    if device.doom:
        return _revert(state, device)
    if is_blocked(state, device):
        return None
    return read_before(device) or c.TestImage(
        device.name, device.new_hash, device.planned.running_hash, device.attempt
    )


def _judge(state: RolloutState, device: DeviceProgress) -> Next:
    if device.watch.symptom is Symptom.REVERTED and (device.reverted_by_host or device.spread):
        # Its slots are as a rollback would leave them; only the reason differs.
        return _reverted(device)
    if device.doom:
        return _revert(state, device)
    if device.pair.unapplied and device.watch.symptom is None:
        return apply_on_trial(device)
    if recalibration.is_due_on_trial(device):
        return recalibration.on_trial(state, device)
    if device.uncalibrated:
        return e.HoldExpired(device.name, f"not calibrated: {device.uncalibrated}")
    if device.watch.symptom is Symptom.SILENT or device.common_cause:
        return _judge_silence(state, device)
    verdict = state.verdict(device)
    if device.state is _S.HELD:
        undecided = verdict is None or verdict.outcome is Outcome.INCONCLUSIVE
        if device.accepted and undecided:
            return _confirm(state, device)
        return _judge_held(device, verdict)
    if device.passed and not (verdict and verdict.outcome is Outcome.FAILED):
        return _confirm(state, device)
    return None if verdict is None else _verdict(device, verdict)


def _confirm(state: RolloutState, device: DeviceProgress) -> Next:
    """It passed, or a person accepted it: the hands read it afresh, and confirm."""
    if device.awaits_beat:
        return None
    if device.refusals >= _MAX_CONFIRM_REFUSALS:
        return e.HoldExpired(device.name, f"the confirm was refused: {device.why}")
    guard = state.guards.get(device.planned.cryostat)
    if guard is not None and not guard.knows_no_harm():
        return None
    return c.ConfirmImage(device.name, device.new_hash, device.boot)


def _verdict(device: DeviceProgress, verdict: Verdict) -> Next:
    return e.VerdictReached(
        device.name,
        verdict.outcome.value,
        verdict.reason,
        verdict.evidence,
        device.watch.latest_t_s,
    )


def _judge_silence(state: RolloutState, device: DeviceProgress) -> Next:
    """Its controls tell whether its silence is its own."""
    if device.common_cause:
        why = voices.ended(state, device)
        if why:
            return e.CommonCauseEnded(device.name, why)
        return _share_silence(state, device)
    match voices.silence(state, device):
        case voices.Silence.UNKNOWN:
            return None
        case voices.Silence.SHARED:
            why, evidence = voices.words(state, device)
            return e.CommonCauseFound(device.name, why, device.watch.latest_t_s or 0.0, evidence)
        case voices.Silence.OWN:
            verdict = state.verdict(device)
            return None if verdict is None else _verdict(device, verdict)


def _share_silence(state: RolloutState, device: DeviceProgress) -> Next:
    """A common cause lasts: a device on trial is held, but nobody may stay silent for ever."""
    latest_t_s, since_t_s = device.watch.latest_t_s, device.common_t_s
    if latest_t_s is None or since_t_s is None or device.state is _S.FROZEN:
        return None
    if device.state is _S.HELD:
        return _judge_held(device, None)
    if device.state is _S.WATCHED:  # it was frozen in between: it is held from here
        why, evidence = voices.words(state, device)
        return e.CommonCauseFound(device.name, why, latest_t_s, evidence)
    verdict = state.verdict(device)
    if verdict is None or latest_t_s - since_t_s < device.planned.evidence.deadline_s:
        return None
    return _verdict(device, verdict)


def _judge_held(device: DeviceProgress, verdict: Verdict | None) -> Next:
    if verdict is not None and verdict.outcome is not Outcome.INCONCLUSIVE:
        return _verdict(device, verdict)
    latest_t_s, held_t_s = device.watch.latest_t_s, device.held_t_s
    if latest_t_s is None or held_t_s is None:
        return None
    if latest_t_s - held_t_s < device.planned.evidence.deadline_s:
        return None
    waited = f"held for {latest_t_s - held_t_s:.0f} s"
    return e.HoldExpired(device.name, f"{waited}: {device.why}")


def _reverted(device: DeviceProgress) -> Next:
    why = device.reverted_by_host or device.watch.heartbeats.detail
    host_fault = bool(device.reverted_by_host)
    return e.DeviceReverted(device.name, device.planned.running_hash, why, host_fault)


def _guard(state: RolloutState, device: DeviceProgress) -> Next:
    """Confirmed devices stay watched until the rollout ends."""
    if device.doom:
        free = has_heat_slot(state, device, back=True)
        return _roll_back(state, device) if free else None
    if device.watch.symptom is Symptom.SILENT or device.common_cause:
        return _judge_silence(state, device)
    verdict = state.verdict(device)
    if verdict is None or verdict.outcome is not Outcome.FAILED:
        return None
    return _verdict(device, verdict)


def _frozen(state: RolloutState, device: DeviceProgress) -> Next:
    """Safe state first; then nothing but a revert, and that only below the hard limit."""
    if not device.made_safe:
        return c.SafeDevice(device.name, state.guards[device.planned.cryostat].frozen)
    if device.doom:
        return _revert(state, device)
    if device.watch.symptom is Symptom.SILENT or device.common_cause:
        return _judge_silence(state, device)
    if device.watch.symptom is None or device.reverted_by_host:
        return None
    verdict = state.verdict(device)
    return None if verdict is None else _verdict(device, verdict)


def _revert(state: RolloutState, device: DeviceProgress) -> Next:
    """Back from a test boot: its share of the heat budget was kept for it."""
    guard = state.guards.get(device.planned.cryostat)
    if guard is not None and not guard.may_revert():
        return None
    return _roll_back(state, device)


def _roll_back(_state: RolloutState, device: DeviceProgress) -> Next:
    old = device.planned.running_hash
    return c.RollBackDevice(device.name, old, device.doom, device.pair.way_back)


def _retry(state: RolloutState, device: DeviceProgress) -> Next:
    if device.failure or device.doom:
        return recalibration.after_return(state, device)
    return e.RetryGranted(device.name, device.attempt + 1, device.why)


def _quarantine(_state: RolloutState, device: DeviceProgress) -> Next:
    if device.quarantined or not device.sent:
        return None
    hint = device.hint or f"see to it, then `cryofw quarantine clear {device.name}`"
    return e.DeviceQuarantined(device.name, device.why, hint)


_BY_STATE = {
    _S.PENDING: _check,
    _S.CHECKED: _upload,
    _S.UPLOADED: _test,
    _S.TESTING: _test_again,
    _S.WATCHED: _judge,
    _S.HELD: _judge,
    _S.FROZEN: _frozen,
    _S.CONFIRMED: _guard,
    _S.ROLLING_BACK: _revert,
    _S.SELF_REVERTED: _retry,
    _S.ROLLED_BACK: recalibration.after_return,
    _S.STUCK: _quarantine,
    _S.UNREACHABLE: _quarantine,
    _S.REFUSED: _quarantine,
}
"""What is decided in each state; in the others there is nothing to decide."""


def next_for_rollout(state: RolloutState) -> Next:
    """The next decision about the rollout as a whole, once no device has one."""
    if not state.started or state.ended or state.paused:
        return None
    if state.ending is e.Ending.STOPPED:
        return _name_unfinished(state) or _end(state)
    if state.pausing:
        in_flight = any(d.intent for d in state.devices.values())
        return None if in_flight else e.RolloutPaused("operator", state.paused_why)
    late = pause_for_cryostats(state)
    if late is not None:
        return late
    if state.ending is not None:
        return _wind_down(state)
    stage = state.stage
    if stage is None:
        return _approved(state, state.plan.stages[0], None)
    if any(d.doom and not _is_settled(d) for d in state.devices.values()):
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
                f"cycle its power; then `cryofw rollback` or `quarantine clear {device.name}`"
            )
            return e.DeviceQuarantined(device.name, f"left {device.state} by the stop", hint)
    return None


def _after_check(state: RolloutState, stage: PlannedStage) -> Next:
    devices = state.members(stage.devices)
    if any(d.intent or d.state is _S.PENDING for d in devices):
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
    started = [n for wave in stage.waves[: state.wave_index + 1] for n in wave]
    devices = state.members(started)
    unfinished = [d for d in devices if not d.done]
    if unfinished:
        return _closed(state, stage) if all(_waits(state, d) for d in unfinished) else None
    lost = [d for d in devices if d.lost]
    if lost:
        names = ", ".join(d.name for d in lost)
        return e.RolloutPaused("device", f"lost after something was sent: {names}", stage.name)
    whole = stage.on_failure in (Reach.STAGE, Reach.ROLLOUT)
    if whole and any(_is_bad(d) for d in devices):
        return _gate(state, stage)
    if state.wave_index + 1 < len(stage.waves):
        return _next_wave(state, stage, state.wave_index + 2)
    return _gate(state, stage)


def _waits(state: RolloutState, device: DeviceProgress) -> bool:
    """Ready for its next flash, and nothing under way on it."""
    cohort = state.cohorts.of(device.name)
    baseline = cohort is None or cohort.frozen or cohort.baseline_complete
    ready = device.state is _S.UPLOADED or (device.state is _S.CHECKED and baseline)
    return ready and not device.intent


def _is_bad(device: DeviceProgress) -> bool:
    """Over, and not proven good; a device that nothing was sent to counts only if refused."""
    if device.state in GOOD or (device.state is _S.UNREACHABLE and not device.sent):
        return False
    return device.state in SETTLED


def _gate(state: RolloutState, stage: PlannedStage) -> Next:
    devices = state.members(stage.devices)
    counts: dict[str, int] = {}
    for device in devices:
        counts[device.state.value] = counts.get(device.state.value, 0) + 1
    good = [d for d in devices if d.state in GOOD]
    bad = [d for d in devices if _is_bad(d)]
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
    past = [name for s in state.plan.stages[: state.stage_index + 1] for name in s.devices]
    bad = [d for d in state.members(past) if _is_bad(d)]
    if bad:
        why = "; ".join(f"{d.name} {d.state}: {d.why}" for d in bad[:5])
        return e.GateFailed(stage.name, f"since it passed: {why}")
    if any(not d.done or d.watch.symptom is Symptom.SILENT for d in state.members(past)):
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
    waiting = [d for d in state.devices.values() if d.intent or not _is_settled(d)]
    if waiting:
        return None
    stage = state.stage
    open_gate = stage is not None and stage.name not in state.gates_passed
    if stage is not None and open_gate and not state.gate_failed:
        return e.GateFailed(stage.name, state.why)
    return _end(state)


def _is_settled(device: DeviceProgress) -> bool:
    """Nothing is under way on it and nothing has to be undone."""
    return device.done or device.untouched or (device.state is _S.CHECKED and not device.doom)


def _end(state: RolloutState) -> Next:
    devices = list(state.devices.values())
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
