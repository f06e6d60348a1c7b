"""Who is looked at now: devices by heartbeats and metrics, cryostats by their guards.

What follows from a change of one device concerns it, its cryostat and those it is compared with,
so only they are asked again. A stage, a wave, a pause and an end concern everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout import events as e
from cryofw.rollout.cryostat_decision import waits
from cryofw.rollout.device_state import WATCHED, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState


class Attention:
    """The devices and cryostats of one rollout that are wanted.

    Args:
        state: of the rollout.

    Attributes:
        watched: names of the devices whose heartbeats and metrics are wanted, as of `update`.
        guarded: names of the cryostats whose guards are wanted, likewise.
        begun: what has come to these two since somebody emptied it.
    """

    def __init__(self, state: RolloutState) -> None:
        self._state = state
        self.watched: set[str] = set()
        self.guarded: set[str] = set()
        self.begun: tuple[set[str], set[str]] = (set(), set())
        self._phase: object = None

    def update(self) -> None:
        """Ask again whoever may be wanted now and was not, or the other way round."""
        state = self._state
        phase = (
            state.stage_index, state.wave_index, state.ending, state.ended, bool(state.paused),
        )  # fmt: skip
        changed, regrouped = state.roster.changed, state.cohorts.regrouped
        if phase != self._phase:
            self._phase = phase
            self._ask(state.everyone, state.guards)
        elif changed or regrouped:
            cryostats = {p.planned.cryostat: None for p in changed.values()}
            names = {p.name: p for c in cryostats for p in state.inhabitants(c)}
            for name in changed:
                names.update((c, state.devices[c]) for c in state.cohorts.peers(name))
            names.update((name, state.devices[name]) for name in regrouped)
            self._ask(names.values(), cryostats)
        changed.clear()
        regrouped.clear()

    def _ask(self, devices: Iterable[DeviceProgress], cryostats: Iterable[str]) -> None:
        begun, begun_guards = self.begun
        for progress in devices:
            _put(progress.name, self.watched, begun, wanted=self._wants(progress))
        for cryostat in cryostats:
            _put(cryostat, self.guarded, begun_guards, wanted=self._guards(cryostat))

    def take_begun(self) -> tuple[list[str], list[str]]:
        """Devices and cryostats that have come to be wanted since the last call, sorted by name."""
        self.update()
        devices, cryostats = self.begun
        self.begun = (set(), set())
        return sorted(devices), sorted(cryostats)

    def _wants(self, device: DeviceProgress) -> bool:
        state = self._state
        if state.stage is None or state.ended or state.paused:
            return False
        if state.ending is e.Ending.STOPPED or device.intent or device.power_cycling:
            return False
        if device.state in WATCHED:
            return True
        return state.wave_index >= 0 and state.ending is None and self._before_update(device)

    def _before_update(self, device: DeviceProgress) -> bool:
        """Its baseline is being taken, or it is a control of somebody that is judged."""
        state, roster = self._state, self._state.roster
        at, wave = state.stage_index, state.wave_index
        if device.state is DeviceState.CHECKED:
            if roster.is_coming(device.name, at, wave):
                return True
            cryostat = device.planned.cryostat
            of_interest = cryostat in roster.cryostats_of(at, wave) or roster.judged[cryostat]
            if of_interest and roster.turn[device.name][0] == at:
                return True
        return any(
            self.is_on_trial(name) or roster.is_coming(name, at, wave)
            for name in state.cohorts.compared_with(device.name)
        )

    def is_on_trial(self, name: str) -> bool:
        """It runs the release."""
        return self._state.devices[name].state in WATCHED

    def _guards(self, cryostat: str) -> bool:
        state = self._state
        if cryostat not in state.guards or state.stage is None:
            return False
        if state.paused or state.ended or state.ending is e.Ending.STOPPED:
            return False
        if any(p.sent or waits(state, p) for p in state.inhabitants(cryostat)):
            return True
        wave = max(0, state.wave_index)
        cryostats = state.roster.cryostats_of(state.stage_index, wave)
        return state.ending is None and cryostat in cryostats


def _put(name: str, names: set[str], begun: set[str], *, wanted: bool) -> None:
    if wanted and name not in names:
        names.add(name)
        begun.add(name)
    elif not wanted and name in names:
        names.discard(name)
        begun.discard(name)
