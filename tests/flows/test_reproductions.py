"""A game is itself a rollout with a journal: made into a scenario again, it ends the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cryofw.fleet import parse_fleet
from cryofw.gameday import play
from cryofw.gameday.casting import cast
from cryofw.gameday.gameday import play_scenario
from cryofw.gameday.reproduction import Reproduction, reproduce
from cryofw.gameday.scenario import parse_scenario, shipped_scenario
from cryofw.journal import JOURNAL_NAME, MemoryDisk, MemoryStorage, read_journal
from tests.flows.test_scenarios import FLEET

if TYPE_CHECKING:
    from tests.flows.small_lab import SmallLab


def remade(name: str) -> Reproduction:
    """The reproduction of the journal that a shipped scenario writes."""
    fleet = parse_fleet(FLEET, "fleet.yaml")
    result = play(cast(shipped_scenario(name), fleet).game)
    records = read_journal(MemoryStorage(MemoryDisk({JOURNAL_NAME: result.journal}))).records
    return reproduce(records, records[0].rollout)


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("calibration-regression", '"shift": {"metric": "gain"'),
        ("hung-canary", '"hang": {"device": "c1-a"'),
        ("bad-key", '"hang_after": "0 s"'),
        ("host-killed", '"host-dies": {"back_after": '),
    ],
)
def test_a_failure_is_played_again(name: str, holds: str) -> None:
    again = remade(name)

    assert holds in again.text
    scenario = parse_scenario(again.text.encode(), "again.yaml")
    outcome = play_scenario(scenario, parse_fleet(FLEET, "fleet.yaml"))
    assert (outcome.broken, outcome.unmet) == ("", ())


def test_a_real_rollout_becomes_a_scenario_file(small_lab: SmallLab) -> None:
    small_lab.run("deploy", "hang.bin", "--yes").expect(6)

    made = small_lab.run("sim", "reproduce", "--output", "again.yaml")

    made.expect(0, '"hang_after": "0 s"', "rolled-back", "all well")
    small_lab.run("sim", "reproduce", "--output", "again.yaml").expect(5, "--force")
    small_lab.run("sim", "gameday", "again.yaml").expect(0, "rolled-back")


def test_what_cannot_be_played_is_said(small_lab: SmallLab) -> None:
    small_lab.run("sim", "reproduce").expect(3, "there is no rollout")
    small_lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)

    made = small_lab.run("sim", "reproduce", "--json")

    assert "nothing of this rollout went wrong" in made.out
