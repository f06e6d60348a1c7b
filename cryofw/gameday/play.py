"""Plays a game from its first plan to the last lease that runs out, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from cryofw.engine.deployment import Deployment, survey
from cryofw.engine.virtual_time import run_virtual
from cryofw.errors import CryofwError
from cryofw.gameday.game import Result
from cryofw.gameday.invariant import Invariant, InvariantBroken
from cryofw.gameday.operator import Operator
from cryofw.gameday.person import next_visit
from cryofw.gameday.world import World
from cryofw.rollout import Ending, Wish, make_plan
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.engine.home import Home
    from cryofw.gameday.game import Game
    from cryofw.gameday.host import Host
    from cryofw.rollout import Event, Plan, RolloutState

_LEASES_RUN_OUT = 2.0
_SETTLE_S = 120.0
_LIVES = 3
"""After so many times their patience, a person has done everything that could end it."""


def play(game: Game) -> Result:
    """Play a game to its end.

    Raises:
        ImageRejected: an image of the game does not verify.
    """
    return run_virtual(_play(game))


async def _play(game: Game) -> Result:
    world = World(game)
    world.lab.start()
    try:
        return await _Players(world).play()
    finally:
        world.lab.close()


class _Players:
    """The people of one game."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rivals: list[asyncio.Task[int]] = []
        self._why = ""
        self._lease_s = 0.0
        world.weather.on_rival = self._let_rival_come

    async def play(self) -> Result:
        world = self._world
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        visits = await self._operate(world.first)
        seconds = loop.time() - begun_s
        for rival in self._rivals:
            await rival
        world.weather.end()
        if world.broken is None:
            await asyncio.sleep(_LEASES_RUN_OUT * self._lease_s + _SETTLE_S)
            world.judge()
        journals = {name: one.journal for name, one in world.operators.items()}
        ended = world.ended(world.first)
        return Result(
            game=world.game.name,
            ended=Ending(ended) if ended else None,
            why=self._why,
            digest=hashlib.sha256(b"\0".join(journals.values())).hexdigest(),
            records=world.first.journal.count(b"\n"),
            visits=visits,
            sends=world.sends,
            seconds=seconds,
            affected=tuple(world.affected),
            broken=world.broken,
            journals=journals,
            notes=tuple(world.notes),
        )

    def _let_rival_come(self) -> None:
        game = self._world.game
        if game.rival and not self._rivals:
            rival = Operator("bob", [game.factory, game.rival], game.keys)
            self._world.join(rival)
            self._rivals.append(asyncio.get_running_loop().create_task(self._operate(rival)))

    async def _operate(self, operator: Operator) -> int:
        """Start, look, mend and resume until the rollout has ended; the number of visits."""
        world, patience, visits = self._world, self._world.game.patience, 0
        says: Sequence[Event] = ()
        while world.broken is None:
            visits += 1
            state, died = await self._visit(operator, says, visits)
            begun, ended = world.has_begun(operator), world.ended(operator)
            if ended or (not begun and visits > patience):
                break
            if visits > _LIVES * patience:
                words = f"the rollout of {operator.name} does not end: {self._why}"
                world.broken = InvariantBroken(Invariant.EVERY_DEVICE_SETTLED, words)
                break
            then = next_visit(operator.name, state, visits, patience)
            says = then.says
            await asyncio.sleep(operator.back_after_s if died else then.after_s)
        return visits

    async def _visit(
        self, operator: Operator, says: Sequence[Event], number: int
    ) -> tuple[RolloutState | None, bool]:
        """One process of the operator; the state it left, and whether it died."""
        host = self._world.open_host(operator)
        said = "".join(f", saying {event.kind}" for event in says)
        self._world.note(f"{operator.name} comes for the {number}. time{said}")
        try:
            async with asyncio.timeout(self._world.game.longest_s):
                state = await host.run(self._work(operator, host, says, number))
        except TimeoutError:
            words = f"the rollout of {operator.name} runs and runs"
            broken = InvariantBroken(Invariant.EVERY_DEVICE_SETTLED, words)
            self._world.broken = self._world.broken or broken
            host.die()
            return None, True
        except CryofwError as error:
            self._why = str(error)
            self._world.note(f"{operator.name} is told: {error}")
            operator.put_right()
            return None, False
        finally:
            self._world.close_host(operator)
        if host.dead:
            self._world.note(f"the host of {operator.name} has died")
        if state is not None:
            self._why = state.why
        return state, host.dead

    async def _work(
        self, operator: Operator, host: Host, says: Sequence[Event], number: int
    ) -> RolloutState | None:
        home, site = operator.home(host), self._world.site(host)
        history = home.history()
        summary = history.open_rollout
        if summary is None and history.rollouts:
            return None  # it ended in the very moment in which the host died
        plan = (
            home.load_plan(summary) if summary else await self._plan(operator, home, host, number)
        )
        self._lease_s = max(self._lease_s, *(one.lease_ttl_s for one in plan.devices.values()))
        deployment = Deployment(home, plan, operator.keys, operator.name)
        if summary is None:
            return await deployment.start(site, "")
        return await deployment.go_on(site, [*says, e.RolloutResumed("", operator.name)])

    async def _plan(self, operator: Operator, home: Home, host: Host, number: int) -> Plan:
        fleet = self._world.game.fleet
        running = await survey(self._world.site(host), fleet.controllers)
        home.require_driver(fleet, running)
        known = {image.hash: image for image in operator.images}
        wish = Wish(
            operator.release,
            operator.name,
            "2026-01-01T00:00:00Z",
            f"{number:02x}",
            overrides=self._world.game.overrides,
        )
        return make_plan(fleet, wish, running, known, {})
