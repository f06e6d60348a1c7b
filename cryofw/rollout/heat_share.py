"""Who holds the heat budget of a cryostat, and whether one more flash stays within it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout.device_state import DeviceState

if TYPE_CHECKING:
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_S = DeviceState


def has_heat_slot(state: RolloutState, device: DeviceProgress, *, back: bool = False) -> bool:
    """One more flash in the device's cryostat stays within the heat budget and its guards.

    A device that was given up in its test boot may flash at its next reset, whoever resets it: it
    keeps its share, but is never in the way of taking others back.

    `back`: it brings the last good image back, and waits for no experiment.
    """
    near = state.inhabitants(device.planned.cryostat)
    hot = sum(1 for p in near if p.hot or (p.may_swap and not back))
    return _admits(state, device, hot, back=back)


def _admits(state: RolloutState, device: DeviceProgress, hot: int, *, back: bool = False) -> bool:
    cryostat = device.planned.cryostat
    guard = state.guards.get(cryostat)
    return hot < state.plan.heat_slots[cryostat] and (guard is None or guard.admits(hot, back=back))


def heat_held_by(state: RolloutState, device: DeviceProgress) -> list[str]:
    """Devices that were given up and whose heat is all that this one's upload waits for."""
    if device.state is not _S.CHECKED or device.intent or device.doom or state.ending:
        return []
    cohort = state.cohorts.of(device.name)
    if not (cohort is None or cohort.frozen or cohort.baseline_complete):
        return []
    near = state.inhabitants(device.planned.cryostat)
    holders = [p.name for p in near if p.may_swap]
    if not holders or any(p.hot for p in near):
        return []
    return holders if _admits(state, device, 0) and not has_heat_slot(state, device) else []
