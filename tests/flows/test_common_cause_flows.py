"""A hub dies under updated devices and their controls: the real engine on the simulated lab."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.image import Algorithm
from cryofw.journal import JOURNAL_NAME
from cryofw.rollout import Ending
from cryofw.simulator import PullCable, ScheduledFault
from tests.flows.invariants import read_records
from tests.flows.memory_room import FLEET, IMAGES, Prepared, Room, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.image import PublicKey

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

HUB = ("c1-a", "c1-b", "c1-c", "c1-d")
TEXT = FLEET.replace(
    'c1-b: {port: "sim://c1-b", hw: "5a12"}',
    """c1-b: {port: "sim://c1-b", hw: "5a12"}
      c1-c: {port: "sim://c1-c", hw: "5a13"}
      c1-d: {port: "sim://c1-d", hw: "5a14"}""",
).replace("soak: 100 s", "soak: 300 s")


@pytest.fixture(scope="module")
def prepared(image_keys: Keys) -> Prepared:
    good = {"good": IMAGES["good"]}
    return prepare(*image_keys[Algorithm.ED25519], text=TEXT, behaviours=good)


def records(room: Room) -> list[Any]:
    return list(read_records(room.disk.entries[JOURNAL_NAME]))


def of(room: Room, kind: str, device: str = "") -> list[Any]:
    found = [r for r in records(room) if r["kind"] == kind]
    return [r for r in found if device in ("", r.get("device"))]


def at_s(room: Room, record: Any) -> float:
    """Seconds since the rollout began."""
    times = [datetime.fromisoformat(r["t"]) for r in (records(room)[0], record)]
    return (times[1] - times[0]).total_seconds()


def booted_s(prepared: Prepared, device: str) -> float:
    """When a device of an undisturbed rollout is in its test boot."""
    room = Room(prepared, "good")
    assert room.run(room.host()) is not None
    return at_s(room, of(room, "test-booted", device)[0])


def outage(at_s: float, for_s: float, names: tuple[str, ...] = HUB) -> list[ScheduledFault]:
    return [ScheduledFault(at_s, name, PullCable(for_s=for_s)) for name in names]


def check_that_nobody_was_blamed(room: Room) -> None:
    assert room.ended == Ending.CONFIRMED
    assert {r["outcome"] for r in of(room, "verdict-reached")} == {"passed"}
    for kind in ("failure-spread", "device-rollback-requested", "device-quarantined"):
        assert not of(room, kind), kind
    room.check_end()


@pytest.mark.parametrize("for_s", [90, 200])
def test_a_hub_that_dies_in_mid_soak_is_held_and_the_rollout_finishes(
    prepared: Prepared, for_s: float
) -> None:
    room = Room(prepared, "good")
    begin_s = booted_s(prepared, "c1-a") + 60
    assert room.run(room.host(), faults=outage(begin_s, for_s)) is not None

    (found,) = of(room, "common-cause-found")
    assert found["device"] == "c1-a"
    assert found["why"].startswith("silent together with c1-b, c1-c, c1-d, which run their old")
    assert begin_s < at_s(room, found) < begin_s + for_s
    (retry,) = of(room, "retry-granted")
    assert retry["why"].startswith("its lease ran out"), "the dead man's switch, no firmware fault"
    check_that_nobody_was_blamed(room)


def test_a_hub_that_dies_on_confirmed_devices_between_two_waves_is_held(prepared: Prepared) -> None:
    """c1-a is confirmed, the others take their baselines, and nobody is on trial."""
    room = Room(prepared, "good")
    begin_s = booted_s(prepared, "c1-a") + 350
    assert begin_s + 100 < booted_s(prepared, "c1-b")
    assert room.run(room.host(), faults=outage(begin_s, 90)) is not None

    assert {r["device"] for r in of(room, "common-cause-found")} == {"c1-a"}
    check_that_nobody_was_blamed(room)
    assert not of(room, "retry-granted"), "a confirmed device has no lease to run out"


def test_one_cable_is_not_a_hub(prepared: Prepared) -> None:
    """A confirmed device that is silent alone is taken back, and so is what was built on it."""
    room = Room(prepared, "good")
    begin_s = booted_s(prepared, "c1-a") + 320
    assert room.run(room.host(), faults=outage(begin_s, 300, ("c1-a",))) is not None

    assert not of(room, "common-cause-found")
    (failed,) = [r for r in of(room, "verdict-reached") if r["outcome"] == "failed"]
    assert (failed["device"], failed["evidence"]["symptom"]) == ("c1-a", "silent")
    assert room.ended in (Ending.ROLLED_BACK, Ending.STUCK)
    room.check_end()


def test_a_host_that_dies_while_a_common_cause_lasts_is_resumed(prepared: Prepared) -> None:
    faults = outage(booted_s(prepared, "c1-a") + 60, 300)
    whole = Room(prepared, "good")
    host = whole.host()
    assert whole.run(host, faults=faults) is not None

    def killed(send: int) -> Room:
        room = Room(prepared, "good")
        host = room.host()
        host.die_at_send = send
        assert room.run(host, faults=faults) is None
        return room

    held = bisect_left(range(host.sent), 1, key=lambda n: len(of(killed(n), "common-cause-found")))
    for send in (held, held + 2):
        room = killed(send)
        assert not of(room, "common-cause-ended")
        assert room.run(room.host()) is not None
        check_that_nobody_was_blamed(room)


def judged(room: Room) -> dict[str, Any]:
    """Of each device, what its baseline was fixed to and what was concluded."""
    found: dict[str, Any] = {}
    for record in of(room, "verdict-reached"):
        numbers = record["evidence"]["metrics"]["readout_snr"]
        fixed = {name: numbers[name] for name in ("before", "sd", "n_before", "controls", "block")}
        found[record["device"]] = (record["outcome"], numbers["e_needed"], fixed)
    return found


def test_a_host_killed_in_mid_soak_resumes_to_the_same_verdict(prepared: Prepared) -> None:
    whole = Room(prepared, "good")
    host = whole.host()
    assert whole.run(host) is not None
    killed = 0
    for send in range(30, host.sent, 131):
        room = Room(prepared, "good")
        host = room.host()
        host.die_at_send = send
        assert room.run(host) is None
        in_soak = {r["device"] for r in of(room, "test-booted")} - {
            r["device"] for r in of(room, "verdict-reached")
        }
        if not in_soak:
            continue
        killed += 1
        assert room.run(room.host()) is not None
        assert {name: judged(room)[name] for name in in_soak} == {
            name: judged(whole)[name] for name in in_soak
        }
        check_that_nobody_was_blamed(room)
    assert killed > 3
