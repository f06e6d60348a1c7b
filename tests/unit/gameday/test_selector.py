"""Selectors find their devices on fleets of any size, and refuse names that are not there."""

from __future__ import annotations

import pytest

from cryofw.fleet import Fleet, parse_fleet
from cryofw.gameday.selector import (
    NotInFleet,
    is_selector,
    select_cryostats,
    select_devices,
    select_stage,
)

FLEET = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s, misses_allowed: 4}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  guards: none
  calibration: {false_rollback: 0.01}
stages:
  - {name: rig, targets: [rig-1], soak: 30 min}
  - {name: labs, targets: [cryo-2, cryo-1], soak: 30 min}
cryostats:
  rig-1: {controllers: {rig-a: {port: /dev/r0}}}
  cryo-1: {controllers: {c1-a: {port: /dev/a0}, c1-b: {port: /dev/a1}}}
  cryo-2: {controllers: {c2-a: {port: /dev/b0}, c2-b: {port: /dev/b1}}}
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse_fleet(FLEET, "fleet.yaml")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("first of stage 1", ("rig-a",)),
        ("first of stage 2", ("c2-a",)),  # by target, as they are updated
        ("last of stage labs", ("c1-b",)),
        ("3 of stage last", ("c1-a",)),
        ("99 of stage 99", ("c1-b",)),
        ("all of cryostat cryo-1", ("c1-a", "c1-b")),
        ("all of stage 2", ("c2-a", "c2-b", "c1-a", "c1-b")),
        ("c2-b", ("c2-b",)),
    ],
)
def test_devices(fleet: Fleet, text: str, found: tuple[str, ...]) -> None:
    assert is_selector(text)
    assert select_devices(fleet, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("first of stage 2", ("cryo-2",)),
        ("all of stage labs", ("cryo-2", "cryo-1")),
        ("cryo-1", ("cryo-1",)),
    ],
)
def test_cryostats(fleet: Fleet, text: str, found: tuple[str, ...]) -> None:
    assert select_cryostats(fleet, text) == found


@pytest.mark.parametrize(("text", "name"), [("1", "rig"), ("7", "labs"), ("last", "labs")])
def test_stages(fleet: Fleet, text: str, name: str) -> None:
    assert select_stage(fleet, text).name == name


def test_a_name_that_is_not_there_is_refused_with_the_nearest(fleet: Fleet) -> None:
    with pytest.raises(NotInFleet, match="no controller is called `c1-c`") as caught:
        select_devices(fleet, "c1-c")
    assert "c1-" in caught.value.hint
    with pytest.raises(NotInFleet, match="no stage is called `lab`"):
        select_devices(fleet, "first of stage lab")
    with pytest.raises(NotInFleet, match="no cryostat is called `rig-a`"):
        select_cryostats(fleet, "rig-a")


@pytest.mark.parametrize(
    "text",
    ["", "first", "0 of stage 1 ", "0 of stage 1", "first of rig", "first  of stage 1", "-a"],
)
def test_what_is_no_selector(text: str) -> None:
    assert is_selector(text) == (text == "first")  # which may well be somebody's name
