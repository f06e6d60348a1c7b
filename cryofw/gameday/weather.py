"""Lets things happen in a game at their moments."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, assert_never

from cryofw.engine.virtual_time import VirtualTimeLoop
from cryofw.gameday import happening as h
from cryofw.rollout import events as e
from cryofw.simulator import CutPower, PullCable
from cryofw.simulator.climate import Happening as Climate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.gameday.world import World
    from cryofw.rollout import Event

_REPLUGGING_S = 2.0
_STARTED = "rollout-started"


class Weather:
    """What happens to the world, armed by the records of its first operator.

    Args:
        world: where it happens.

    Attributes:
        on_rival: called when a second operator comes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting = list(world.game.happenings)
        self._counts = [0] * len(self._waiting)
        self._crossed: dict[str, str] = {}
        self._over = False
        self.on_rival: Callable[[], None] = lambda: None

    def route(self, device: str) -> str:
        """The device that really hangs on the port of `device`."""
        return self._crossed.get(device, device)

    def end(self) -> None:
        """Let nothing happen any more: from now on it is seen whether everything settles."""
        self._over = True

    def hear(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Records were written: some things happen after them."""
        for record in records:
            for index, happening in enumerate(self._waiting):
                if self._matches(happening.when, record):
                    self._counts[index] += 1
                    if self._counts[index] == happening.when.nth:
                        self._arm(happening)

    def _matches(self, when: h.Moment, record: Mapping[str, Any]) -> bool:
        return (
            record["kind"] == (when.after or _STARTED)
            and when.device in ("", record.get("device"))
            and when.stage in ("", record.get("stage"))
            and (not when.devices or record.get("device") in when.devices)
        )

    def _arm(self, happening: h.Happening) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(happening.when.delay_s, self._let_happen, happening.what)

    def _let_happen(self, what: h.What) -> None:
        if self._over or self._world.broken is not None:
            return
        self._world.note(str(what))
        match what:
            case h.DeviceFault():
                self._world.lab.inject(what.device, what.fault)
            case h.HubSilent():
                for name in self._members(what.cryostat):
                    self._world.lab.inject(name, PullCable(what.for_s))
            case h.BrownOut():
                for name in self._members(what.cryostat):
                    self._world.lab.inject(name, CutPower(0, off_s=what.off_s))
                    self._world.lab.power_cycle(name, what.off_s)
            case h.WarmUp():
                self._climate(Climate.WARM_UP, what.cryostat, what.watts, what.for_s)
            case h.NoThermometer():
                self._climate(Climate.NO_THERMOMETER, what.cryostat, "", what.for_s)
            case h.FridgeLeaves():
                self._climate(Climate.FRIDGE, what.cryostat, "warming-up", what.for_s)
            case h.ExperimentRuns():
                self._climate(Climate.EXPERIMENT, what.cryostat, "carla", what.for_s)
            case h.CablesSwapped():
                self._swap(what)
            case h.SecondOperator():
                self.on_rival()
            case _:
                self._let_happen_to_host(what)

    def _let_happen_to_host(
        self,
        what: h.OfHost,
    ) -> None:
        operator = self._world.first
        host = operator.host
        match what:
            case h.ClockJumps():
                operator.clock_wrong_by_s += what.by_s
                if host is not None:
                    host.clock.wrong_by_s = operator.clock_wrong_by_s
            case h.BackupRestored():
                operator.back_after_s = what.back_after_s
                if host is not None:
                    host.die()
                operator.restore_backup()
            case h.HostDies():
                operator.back_after_s = what.back_after_s
                if host is not None:
                    self._kill(what)
            case h.DiskFails():
                if host is not None:
                    host.storage.fail_at(what.count, what.kept)
            case h.DiskFull():
                operator.disk.full = True
                loop = asyncio.get_running_loop()
                loop.call_later(what.for_s, operator.make_room)
            case h.ImageSpoiled():
                operator.spoil(operator.images[0 if what.way_back else -1])
            case h.PersonAsks():
                operator.leave_request(_asked(what.wish, operator.name))
            case _:
                assert_never(what)

    def _kill(self, what: h.HostDies) -> None:
        host = self._world.first.host
        assert host is not None
        match what.where:
            case h.Death.NOW:
                host.die()
            case h.Death.TURN:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, VirtualTimeLoop)
                loop.call_after_turns(what.count, host.die)
            case h.Death.WRITE:
                host.storage.die_at(what.count, what.kept)
            case h.Death.SEND:
                host.die_at_send(what.count)
            case h.Death.SENT:
                host.die_at_send(what.count, too_late=True)

    def _members(self, cryostat: str) -> list[str]:
        controllers = self._world.game.fleet.cryostats[cryostat].controllers
        return [one.name for one in controllers]

    def _climate(self, what: Climate, where: str, value: str | float, for_s: float) -> None:
        self._world.lab.climate.let_happen(what, where, value, for_s=for_s)

    def _swap(self, what: h.CablesSwapped) -> None:
        self._replug(what, {what.one: what.other, what.other: what.one})
        loop = asyncio.get_running_loop()
        loop.call_later(what.for_s, self._replug, what, {})

    def _replug(self, what: h.CablesSwapped, crossed: dict[str, str]) -> None:
        for name in (what.one, what.other):
            self._world.lab.inject(name, PullCable(_REPLUGGING_S))
        self._crossed = crossed


def _asked(wish: h.Wish, who: str) -> Event:
    match wish:
        case h.Wish.PAUSE:
            return e.PauseRequested(who)
        case h.Wish.ABORT:
            return e.AbortRequested(who, "game")
        case h.Wish.STOP:
            return e.StopRequested(who, "game")
        case h.Wish.ROLLBACK:
            return e.RollbackRequested(who, "game")
