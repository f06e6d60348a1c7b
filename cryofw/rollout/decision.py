"""What follows from a rollout's state: the next decision or command, one at a time.

Nothing here remembers anything: asked again about the same state, it answers the same. That is
why a rollout can be resumed at any point by folding its journal and asking once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.health import Outcome, Symptom
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout import recalibration, voices
from cryofw.rollout.coefficient_decision import apply_on_trial, mend, read_before
from cryofw.rollout.cryostat_decision import is_blocked
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.heat_share import has_heat_slot
from cryofw.rollout.upload_decision import upload

if TYPE_CHECKING:
    from cryofw.health import Verdict
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState
_MAX_CONFIRM_REFUSALS = 2
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
    if device.doom and device.sent:  # a person cleared it: its share of the heat budget was free
        free = has_heat_slot(state, device, back=True)
        return _revert(state, device) if free else None
    if stage is None or device.doom or state.ending or device.planned.stage != stage.name:
        return None
    return c.CheckDevice(device.name)


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
    # A device that would not tell its boot after the reset has told it since.
    boot = device.watch.heartbeats.boot_id if device.boot is None else device.boot
    return c.ConfirmImage(device.name, device.new_hash, boot)


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
    verdict = state.verdict(device) if state.may_fail(device) else None
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
    _S.CHECKED: upload,
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
