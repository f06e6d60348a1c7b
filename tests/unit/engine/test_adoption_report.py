"""Taking devices over one by one: what is done stays done, and what is not is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryofw.engine.adoption import adopt_devices, images_at_hand
from cryofw.engine.home import Home
from cryofw.engine.lab_acts import say_of_lab
from cryofw.fleet import Fleet, parse_fleet
from cryofw.journal import JOURNAL_NAME, MemoryStorage, StorageLocked
from cryofw.rollout import Running
from cryofw.rollout.adoption import AdoptionWish, KnownImage
from cryofw.rollout.lab_events import DeviceExcluded

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
stages: [{name: rig, targets: [rig-1], soak: 10 min}]
cryostats:
  rig-1:
    controllers:
      a: {port: "sim://a"}
      b: {port: "sim://b"}
      c: {port: "sim://c", hw: "aa03"}
      d: {port: "sim://d"}
"""
WISH = AdoptionWish("anna@lab", "taken over")
IMAGE = "ab" * 32


@pytest.fixture
def fleet() -> Fleet:
    return parse_fleet(TEXT, "fleet.yaml")


@pytest.fixture
def home() -> Home:
    return Home(Path("nowhere"), MemoryStorage())


def running(hw: str) -> Running:
    return Running(IMAGE, "1.0.0", hw, board="cc40")


ANSWERS = {
    "a": running("aa01"),
    "b": Running(why="no answer on sim://b"),
    "c": Running(why="sim://c is not c: hardware id aa09, expected aa03", refused=True),
    "d": Running(IMAGE, "1.0.0", "aa04", why="it runs that for test, not confirmed", refused=True),
}


def test_each_device_is_told_for_itself(fleet: Fleet, home: Home) -> None:
    report = adopt_devices(home, fleet.controllers, ANSWERS, {}, {}, WISH)
    assert [event.device for event in report.adopted] == ["a"]
    assert report.silent == {"b": "no answer on sim://b"}
    assert report.refused.keys() == {"c", "d"}
    assert "fleet.yaml names its hardware id" in report.refused["c"].hint
    assert "for test, not confirmed" in report.refused["d"].why
    (record,) = home.records()
    assert (record.kind, record.device, record.rollout) == ("device-adopted", "a", "")

    again = adopt_devices(home, fleet.controllers, ANSWERS, {}, {}, WISH)
    assert (again.unchanged, again.adopted) == (["a"], [])
    assert len(home.records()) == 1


def test_one_controller_on_two_ports_is_adopted_once(fleet: Fleet, home: Home) -> None:
    both = {name: running("aa01") for name in ("a", "b")}
    controllers = [fleet.by_name[name] for name in both]
    report = adopt_devices(home, controllers, both, {}, {}, WISH)
    assert [event.device for event in report.adopted] == ["a"]
    assert "is known as a" in report.refused["b"].what


def test_what_was_said_of_an_image_is_not_asked_again(fleet: Fleet, home: Home) -> None:
    said = {IMAGE: KnownImage(security_counter=7)}
    adopt_devices(home, [fleet.by_name["a"]], ANSWERS, said, {}, WISH)
    known = images_at_hand(home, home.history(), [IMAGE, "cd" * 32], ())
    assert known == said
    report = adopt_devices(home, [fleet.by_name["b"]], {"b": running("aa02")}, known, {}, WISH)
    assert report.adopted[0].security_counter == 7


def test_nothing_is_done_while_another_process_writes(fleet: Fleet, home: Home) -> None:
    with home.storage.lock(JOURNAL_NAME):
        with pytest.raises(StorageLocked):
            adopt_devices(home, fleet.controllers, ANSWERS, {}, {}, WISH)
        with pytest.raises(StorageLocked):  # nobody runs a rollout who could be told
            say_of_lab(home, DeviceExcluded("a", "anna@lab", "x"), "anna@lab", "00")
    assert home.records() == ()
