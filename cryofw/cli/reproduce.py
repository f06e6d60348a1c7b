"""`cryofw sim reproduce`: a rollout that failed, as a scenario, and played again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.options import PATH, force_option, json_option, state_option
from cryofw.cli.output import Output, Status

if TYPE_CHECKING:
    from pathlib import Path


@click.command("reproduce")
@click.argument("rollout", required=False)
@click.option("--output", "output_path", type=PATH, help="Write the scenario to this file as well.")
@fleet_option
@state_option
@force_option
@json_option
def reproduce(
    rollout: str | None,
    output_path: Path | None,
    fleet_path: Path,
    state: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Make a scenario of the journal of ROLLOUT (default: the latest), and play it.

    The journal shows symptoms; the scenario holds the simplest trouble that gives them: which
    devices hung, were silent, reverted or measured worse, and how long after which record; hosts
    that died; cryostats that were frozen. What cannot be played is named. Exit code 5 if the
    rehearsal does not end as the rollout did.
    """
    from cryofw.cli.file import refuse_existing, write_file
    from cryofw.cli.gamedayview import outcomes_json, require_good, show_outcomes
    from cryofw.engine.home import Home
    from cryofw.fleet import load_fleet
    from cryofw.gameday.gameday import play_scenario
    from cryofw.gameday.reproduction import reproduce as make_scenario
    from cryofw.gameday.scenario import parse_scenario

    if output_path is not None:
        refuse_existing(output_path, force=force)
    home, fleet = Home(state), load_fleet(fleet_path)
    found = home.find(rollout).rollout
    made = make_scenario(home.records_of(found), found)
    name = str(output_path) if output_path is not None else f"{found}.yaml"
    scenario = parse_scenario(made.text.encode(), name)
    if output_path is not None:
        write_file(output_path, made.text.encode(), force=force)
    outcome = play_scenario(scenario, fleet)
    output, sources = Output(), {scenario.name: name}
    if as_json:
        [played] = outcomes_json([outcome], fleet_path, sources)
        output.json({"scenario": made.text, "left_out": made.left_out, **played})
    else:
        output.line(made.text)
        for words in made.left_out:
            output.status(Status.WARNING, "not reproduced", words)
        show_outcomes(output, [outcome], fleet_path, sources)
    require_good([outcome])
