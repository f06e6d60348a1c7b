"""`cryofw sim gameday`: rehearses what may go wrong, on a simulated copy of the user's fleet."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.options import json_option
from cryofw.cli.output import Output

if TYPE_CHECKING:
    from cryofw.fleet import Fleet
    from cryofw.gameday.scenario import Scenario


@click.command("gameday")
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@fleet_option
@click.option(
    "--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many each."
)
@click.option(
    "--seed", type=click.IntRange(1), default=1, show_default=True, help="The first of them."
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes. [default: one for each processor]"
)
@click.option("--story", is_flag=True, help="Tell all that took place, for one SCENARIO and seed.")
@click.option("--list", "list_only", is_flag=True, help="Name the scenarios and end.")
@json_option
def gameday(
    scenarios: tuple[str, ...],
    fleet_path: Path,
    seeds: int,
    seed: int,
    jobs: int | None,
    story: bool,
    list_only: bool,
    as_json: bool,
) -> None:
    """Rehearse what may go wrong on fleet.yaml, with nothing real behind it: no port is opened.

    Each SCENARIO is a name of --list, or a file of your own (`cryofw schema scenario` prints what
    may stand in it); without one, all of the list are played. Sources, hooks and ports are
    simulated, time is virtual, and a witness holds cryofw's invariants against the flash itself.
    A seed varies the noise and the small times; the same seed is the same run.

    Exit code 0 if all ended as their files say, 5 if one did not, 4 if an invariant did not hold.
    """
    from cryofw.cli.gamedayview import list_scenarios, outcomes_json, require_good, show_outcomes
    from cryofw.fleet import load_fleet
    from cryofw.gameday.gameday import Sitting, play_all

    chosen = _chosen(scenarios)
    output = Output()
    if list_only:
        list_scenarios(output, chosen, as_json=as_json)
        return
    fleet = load_fleet(fleet_path)
    if story:
        _tell(output, chosen, fleet, seed)
        return
    text = fleet_path.read_text(encoding="utf-8-sig")
    sittings = [
        Sitting(text, str(fleet_path), one, number)
        for one in chosen
        for number in range(seed, seed + seeds)
    ]
    with _Progress(len(sittings)) as tell:
        outcomes = play_all(sittings, jobs or os.cpu_count() or 1, tell)
    sources = dict(zip((one.name for one in chosen), scenarios or (), strict=False))
    if as_json:
        output.json(outcomes_json(outcomes, fleet_path, sources))
    else:
        show_outcomes(output, outcomes, fleet_path, sources)
    require_good(outcomes)


def _chosen(names: tuple[str, ...]) -> list[Scenario]:
    from cryofw.cli.file import read_file
    from cryofw.cli.suggestion import did_you_mean
    from cryofw.errors import UsageError
    from cryofw.gameday.scenario import parse_scenario, scenario_names, shipped_scenario

    known = scenario_names()
    chosen: dict[str, Scenario] = {}
    for name in names or known:
        if name in known:
            scenario = shipped_scenario(name)
        elif "/" in name or name.endswith((".yaml", ".yml")):
            scenario = parse_scenario(read_file(Path(name), "scenario"), name)
        else:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}; or a path"
            raise UsageError(f"no scenario is called {name!r}", hint=hint)
        if scenario.name in chosen:
            raise UsageError(f"two scenarios are called {scenario.name!r}")
        chosen[scenario.name] = scenario
    return list(chosen.values())


def _tell(output: Output, chosen: list[Scenario], fleet: Fleet, seed: int) -> None:
    from cryofw.errors import UsageError
    from cryofw.gameday.gameday import tell_scenario

    if len(chosen) != 1:
        raise UsageError("--story tells one scenario", hint="name it: sim gameday NAME --story")
    for line in tell_scenario(chosen[0], fleet, seed):
        output.line(line)


class _Progress:
    """A line on stderr where a person watches; it is gone at the end."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._shown = Output(sys.stderr).cursor

    def __enter__(self) -> _Progress:
        self(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def __call__(self, done: int) -> None:
        self._write(f"played {done} of {self._count}")

    def _write(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
