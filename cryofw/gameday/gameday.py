"""A game day: scenarios on a fleet, each under several seeds, in processes of their own."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError
from cryofw.fleet import parse_fleet
from cryofw.gameday.casting import cast, missing_need
from cryofw.gameday.outcome import Outcome, judge
from cryofw.gameday.play import play
from cryofw.gameday.scenario_document import Expected
from cryofw.gameday.story import tell_game

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryofw.fleet import Fleet
    from cryofw.gameday.scenario import Scenario


@dataclass(frozen=True)
class Sitting:
    """One scenario under one seed, as plain text: a process of its own reads it again."""

    fleet_text: str
    fleet_name: str
    scenario: Scenario
    seed: int


def play_sitting(sitting: Sitting) -> Outcome:
    """Play a scenario under one seed.

    Raises:
        ScenarioError: it names what the fleet does not have.
        FleetError: the fleet cannot be read.
    """
    fleet = parse_fleet(sitting.fleet_text, sitting.fleet_name)
    return play_scenario(sitting.scenario, fleet, sitting.seed)


def play_scenario(scenario: Scenario, fleet: Fleet, seed: int = 1) -> Outcome:
    """The same on a fleet that was read.

    Raises:
        ScenarioError: it names what the fleet does not have.
    """
    missing = missing_need(scenario, fleet)
    if missing:
        return Outcome(scenario.name, seed, "", missing)
    ready = cast(scenario, fleet, seed)
    try:
        result = play(ready.game)
    except CryofwError as error:  # before anybody came: cryofw does not take the image
        why, aside = str(error), ready.rehearsal.set_aside
        expected = scenario.says.expect.ended
        unmet = () if Expected.NOT_BEGUN in expected else (f"it never began: {why}",)
        return Outcome(scenario.name, seed, Expected.NOT_BEGUN, why, unmet=unmet, set_aside=aside)
    return judge(scenario, ready, seed, result)


def tell_scenario(scenario: Scenario, fleet: Fleet, seed: int) -> Iterator[str]:
    """The whole story of a scenario under one seed.

    Raises:
        ScenarioError: it names what the fleet does not have.
        ImageRejected: its release is not one that cryofw takes.
    """
    ready = cast(scenario, fleet, seed)
    yield from tell_game(ready.game, play(ready.game))


def play_all(sittings: Sequence[Sitting], jobs: int, tell: Callable[[int], None]) -> list[Outcome]:
    """The outcomes, in order; `tell` is called with the number of those that are over.

    Raises:
        ScenarioError, FleetError: as `play_sitting`.
    """
    found: list[Outcome] = []
    workers = min(jobs, len(sittings))
    if workers <= 1:
        for sitting in sittings:
            found.append(play_sitting(sitting))
            tell(len(found))
        return found
    # Not forked: a fork of a process with threads may hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_ctrl_c) as pool:
        try:
            for outcome in pool.map(play_sitting, sittings):
                found.append(outcome)
                tell(len(found))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _ignore_ctrl_c() -> None:
    """Ctrl-C ends the parent, which ends these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
