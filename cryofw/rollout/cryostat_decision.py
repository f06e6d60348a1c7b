"""What follows from the guards: base, freeze, thaw, hold out, admit, and when to stop waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.device_state import DeviceState
from cryofw.rollout.heat_share import heat_held_by

if TYPE_CHECKING:
    from cryofw.rollout.cryostat_guard import CryostatGuard
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState
_MOVING = frozenset({_S.UPLOADED, _S.TESTING, _S.ROLLING_BACK, _S.FROZEN})
_AFTER_FLASH = _MOVING | {_S.WATCHED, _S.HELD}


def next_for_cryostats(state: RolloutState) -> e.Event | None:
    """The next decision about a cryostat whose reading changed; None once all are decided."""
    while state.unsettled:
        name = next(iter(state.unsettled))
        guard = state.guards.get(name)
        step = None if guard is None else _next(state, guard)
        if step is not None:
            return step
        del state.unsettled[name]
    return None


def _next(state: RolloutState, guard: CryostatGuard) -> e.Event | None:
    if guard.latest is None:
        return None
    if guard.override_by:
        return _bind_override(guard)
    if guard.frozen:
        if guard.is_calm():
            return ce.CryostatThawed(guard.name, _calm_words(guard), guard.evidence())
        why = "" if guard.cycled else guard.fridge_elsewhere()  # it may follow on the warm-up
        return ce.CryostatFrozen(guard.name, why, guard.evidence()) if why else None
    why = guard.too_warm() or (guard.fridge_elsewhere() if _on_trial(state, guard) else "")
    if why:
        return ce.CryostatFrozen(guard.name, why, guard.evidence())
    hot = any(p.hot for p in state.inhabitants(guard.name))
    # Not while an experiment or the fridge warms it: a base too high would allow too much.
    base_k = None if hot or guard.kept_out() else guard.base_found()
    if base_k is not None:
        return ce.CryostatBaseTaken(guard.name, base_k, guard.evidence())
    return _hold_out(state, guard, hot=hot)


def _on_trial(state: RolloutState, guard: CryostatGuard) -> bool:
    return any(p.state in _AFTER_FLASH for p in state.inhabitants(guard.name))


def _calm_words(guard: CryostatGuard) -> str:
    temperature, reading = guard.contract.temperature, guard.latest
    if temperature is None or reading is None or reading.kelvin is None:
        return "the fridge is base-stable again"
    return f"{reading.kelvin:.3f} K, calm for {temperature.over_s:.0f} s"


def _bind_override(guard: CryostatGuard) -> e.Event | None:
    """An override is about the lease that is seen first after it, and about no later one."""
    reading = guard.latest
    if reading is None or reading.lease_gap:
        return None
    who = guard.override_by
    if not reading.held_by:
        return ce.CryostatAdmitted(guard.name, f"no lease to override for {who}: it is free")
    why = f"the lease of {reading.lease_owner} was overridden by {who}"
    return ce.CryostatAdmitted(guard.name, why, reading.lease_owner, reading.lease_token)


def _hold_out(state: RolloutState, guard: CryostatGuard, *, hot: bool) -> e.Event | None:
    why = guard.kept_out() or ("" if hot else guard.unsettled())
    if guard.held_out and not why:
        return ce.CryostatAdmitted(guard.name, "nothing keeps it out any more")
    waiting = [p for p in state.inhabitants(guard.name) if waits(state, p)]
    if guard.ready(back=True):  # only an experiment is in the way, and not of what goes back
        waiting = [p for p in waiting if not p.doom]
    if why and waiting and not guard.held_out:
        return ce.CryostatHeldOut(guard.name, why, guard.evidence())
    return None


def waits(state: RolloutState, device: DeviceProgress) -> bool:
    """It would be flashed, tested or taken back now if its cryostat and its turn allowed it."""
    if device.state in _MOVING:
        return True
    if device.state is _S.CONFIRMED:
        return bool(device.doom)
    if device.state is _S.PENDING and device.sent and device.doom:
        return True
    if device.state is not _S.CHECKED or device.doom or state.ending is not None:
        return False
    return state.is_in_turn(device)


def pause_for_cryostats(state: RolloutState) -> e.Event | None:
    """A pause, once all that is left to do has waited for its cryostats for too long."""
    late = {name: guard for name, guard in state.blocked.items() if _waited_too_long(guard)}
    if not late:
        return None

    def goes_on(device: DeviceProgress) -> bool:
        if not (device.intent or _is_active(state, device)) or heat_held_by(state, device):
            return False
        return _goes_on(device) or device.planned.cryostat not in late

    devices = state.everyone
    if state.roster.any("goes on without its cryostat", devices, goes_on):
        return None
    active = [p for p in devices if p.intent or _is_active(state, p)]
    active = [p for p in active if p.planned.cryostat in late]
    if not active:
        return None
    names = sorted({p.planned.cryostat for p in active})
    why = "; ".join(f"{n}: {late[n].frozen or late[n].held_out}" for n in names)
    left = [p.name for p in active if p.state is _S.FROZEN]
    if left:
        why += f"; left to their lease: {' '.join(left)}"
    return e.RolloutPaused("cryostat", why, state.stage.name if state.stage else "")


def _goes_on(device: DeviceProgress) -> bool:
    """Something happens on it without its cryostat's leave: a command, or its soak."""
    return bool(device.intent) or device.state in (_S.WATCHED, _S.HELD)


def _is_active(state: RolloutState, device: DeviceProgress) -> bool:
    return device.state in _AFTER_FLASH or device.calibrates_back or waits(state, device)


def _waited_too_long(guard: CryostatGuard) -> bool:
    reading = guard.latest
    if reading is None or guard.blocked_t_s is None:
        return False
    contract = guard.contract
    patience_s = contract.freeze_patience_s if guard.frozen else contract.hold_patience_s
    return reading.t_s - guard.blocked_t_s >= patience_s


def is_blocked(state: RolloutState, device: DeviceProgress) -> bool:
    """Its cryostat is not ready for a flash, heat budget aside."""
    guard = state.guards.get(device.planned.cryostat)
    return guard is not None and not guard.ready()
