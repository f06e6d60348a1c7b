"""A rollout that checks what it keeps count of: after each step it looks at every device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import Rollout
from cryofw.rollout import events as e
from cryofw.rollout.cryostat_decision import waits
from cryofw.rollout.device_state import WATCHED, DeviceState
from cryofw.rollout.roster import Roster
from cryofw.rollout.stage_decision import next_for_rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cryofw.rollout import RolloutState, Step
    from cryofw.rollout.progress import DeviceProgress


class ScanningRoster(Roster):
    """Keeps nothing: looks at all devices each time."""

    def __init__(self, roster: Roster, devices: Iterable[DeviceProgress]) -> None:
        vars(self).update(vars(roster))
        self._everyone = tuple(devices)
        self.busy = {p.name: p for p in self._everyone if p.intent}
        self.doomed = {p.name: p for p in self._everyone if p.doom}
        self.bad = {p.name: p for p in self._everyone if p.bad}
        self.judged = {
            p.planned.cryostat: {
                q.name
                for q in self._everyone
                if q.planned.cryostat == p.planned.cryostat and q.state in WATCHED
            }
            for p in self._everyone
        }

    def any(
        self,
        question: str,
        devices: Sequence[DeviceProgress],
        holds: Callable[[DeviceProgress], bool],
        first: int | None = None,
    ) -> bool:
        return any(holds(p) for p in devices[:first])


def watched(state: RolloutState) -> set[str]:
    """Names of the devices whose heartbeats and metrics are wanted now."""
    stage = state.stage
    if stage is None or state.ended or state.paused or state.ending is e.Ending.STOPPED:
        return set()
    names = {
        n
        for n, p in state.devices.items()
        if p.state in WATCHED and not p.intent and not p.power_cycling
    }
    if state.wave_index >= 0 and state.ending is None:
        names |= _before_their_update(state)
    return names


def _before_their_update(state: RolloutState) -> set[str]:
    stage = state.stage
    assert stage is not None
    coming = [n for w in stage.waves[state.wave_index : state.wave_index + 2] for n in w]
    judged = [n for n, p in state.devices.items() if p.state in WATCHED]
    of_interest = (*stage.waves[state.wave_index], *judged)
    cryostats = {state.devices[n].planned.cryostat for n in of_interest}
    near = [n for n in stage.devices if state.devices[n].planned.cryostat in cryostats]
    names = {n for n in (*coming, *near) if state.devices[n].state is DeviceState.CHECKED}
    names |= _controls(state, [*coming, *judged])
    return {p.name for p in state.members(names) if not (p.intent or p.power_cycling)}


def _controls(state: RolloutState, names: Iterable[str]) -> set[str]:
    """The controls of these devices, as far as they can be controls now."""
    of_all = {name: set(state.cohorts.compared_with(name)) for name in state.devices}
    return {c for name in names for c in state.cohorts.peers(name) if name in of_all[c]}


def beating(state: RolloutState, device: str) -> bool:
    """Its heartbeats are wanted, not only its metrics."""
    progress = state.devices[device]
    updated = [p for p in state.devices.values() if p.state in WATCHED]
    if any(p.planned.cryostat == progress.planned.cryostat for p in updated):
        return True
    return any(device in state.cohorts.peers(p.name) for p in updated)


def guarded(state: RolloutState) -> set[str]:
    """Names of the cryostats whose guards are wanted now."""
    at_rest = bool(state.paused) or state.ended is not None
    if state.stage is None or at_rest or state.ending is e.Ending.STOPPED:
        return set()
    wanted = {p.planned.cryostat for p in state.devices.values() if p.sent or waits(state, p)}
    if state.ending is None:
        wave = state.stage.waves[max(0, state.wave_index)]
        wanted |= {p.planned.cryostat for p in state.members(wave)}
    return wanted & state.guards.keys()


class ScannedRollout(Rollout):
    """Compares what it decides and wants with what every device says, at each step."""

    def _next(self) -> Step | None:
        state = self.state
        kept, blocked = state.roster, state.blocked
        scan = ScanningRoster(kept, state.everyone)
        for name in ("busy", "doomed", "bad", "judged"):
            assert getattr(kept, name) == getattr(scan, name), name
        decided = next_for_rollout(state)
        state.roster, state.blocked = scan, dict(state.guards)
        try:
            assert next_for_rollout(state) == decided
        finally:
            state.roster, state.blocked = kept, blocked
        return super()._next()

    def receive(self, event: e.Event) -> list[Step]:
        steps = super().receive(event)
        assert self.watched() == watched(self.state)
        assert self.guarded() == guarded(self.state)
        for name in self.state.devices:
            assert self.beating(name) == beating(self.state, name), name
        return steps
