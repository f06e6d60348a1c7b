"""A host that dies at every write of a rollout, and the resume after it: in one process, all of it.

Two kinds of death: inside or right after any write to the state directory, and before or after any
write to a device's line. The disk and the chips outlive the host; nothing else does.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from cryofw.gameday import InvariantBroken
from cryofw.image import Algorithm
from cryofw.journal import JOURNAL_NAME
from cryofw.rollout import Ending
from cryofw.rollout import events as e
from cryofw.simulator import PullCable, ScheduledFault
from tests.flows.flash_observer import see_chips
from tests.flows.invariants import read_records
from tests.flows.memory_room import IMAGES, WHO, Prepared, Room, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cryofw.image import PublicKey
    from tests.flows.memory_room import Host

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

WHOLE = 1 << 30


@pytest.fixture(scope="module")
def prepared(image_keys: Keys) -> Prepared:
    return prepare(*image_keys[Algorithm.ED25519])


def whole_run(room: Room) -> Host:
    """How many writes a rollout takes that nobody disturbs."""
    host = room.host()
    state = room.run(host)
    assert state is not None
    return host


@pytest.mark.parametrize("image", list(IMAGES))
def test_an_undisturbed_rollout_ends_as_its_firmware_deserves(
    prepared: Prepared, image: str
) -> None:
    room = Room(prepared, image)

    state = room.run(room.host())

    assert state is not None
    assert state.ended is IMAGES[image][1]


@pytest.mark.parametrize("image", list(IMAGES))
@pytest.mark.parametrize("kept", [0, 40, WHOLE], ids=["nothing", "torn", "whole"])
def test_a_host_that_dies_in_any_write_to_its_disk_is_resumed(
    prepared: Prepared, image: str, kept: int
) -> None:
    writes = whole_run(Room(prepared, image)).storage.writes
    for write in range(writes):
        room = Room(prepared, image)
        host = room.host()
        host.storage.die_at(write, kept)
        assert room.run(host) is None, f"write {write} of {writes}"
        with told(f"died in write {write} of {writes}"):
            room.finish()


@pytest.mark.parametrize("image", list(IMAGES))
@pytest.mark.parametrize("too_late", [False, True], ids=["before", "after"])
def test_a_host_that_dies_at_a_send_to_a_device_is_resumed(
    prepared: Prepared, image: str, too_late: bool
) -> None:
    sends = whole_run(Room(prepared, image)).sent
    # Most sends are heartbeats, all alike; the stride has no common divisor with their rhythm.
    stride = 17 if sends > 200 else 3
    for send in range(too_late, sends, stride):
        room = Room(prepared, image)
        host = room.host()
        host.die_at_send, host.too_late = send, too_late
        assert room.run(host) is None, f"send {send} of {sends}"
        with told(f"died at send {send} of {sends}"):
            room.finish()


def test_a_host_that_dies_anywhere_on_the_way_back_is_resumed(prepared: Prepared) -> None:
    """The way back of confirmed devices is short, so every send of it is a place to die at."""
    sends = whole_run(Room(prepared, "late-drift")).sent
    found = 0
    for send in range(sends - 1, 0, -1):
        room = Room(prepared, "late-drift")
        host = room.host()
        host.die_at_send = send
        assert room.run(host) is None
        kinds = [record["kind"] for record in read_records(room.disk.entries[JOURNAL_NAME])]
        with told(f"died at send {send} of {sends}"):
            room.finish()
        if "device-rollback-requested" not in kinds:
            break
        found += 1
    assert found > 30


@pytest.mark.parametrize("image", list(IMAGES))
def test_hosts_that_die_again_and_again_end_it_all_the_same(prepared: Prepared, image: str) -> None:
    sends = whole_run(Room(prepared, image)).sent
    for first in range(5, sends, max(1, sends // 8)):
        room = Room(prepared, image)
        for deaths, after in enumerate((first, 13, 29, 47)):
            host = room.host()
            host.die_at_send, host.too_late = after, bool(deaths % 2)
            if room.run(host) is not None or room.ended:
                break
            with told(f"first death at send {first}, now the {deaths + 1}."):
                room.check_moment()
        with told(f"first death at send {first}"):
            room.finish()


def in_test_boot(room: Room) -> Host:
    """A host that died while rig-a soaked."""
    host = room.host()
    sends = whole_run(Room(room.prepared, room.image)).sent
    for send in range(40, sends):
        trial = Room(room.prepared, room.image)
        trial_host = trial.host()
        trial_host.die_at_send = send
        trial.run(trial_host)
        if see_chips(trial.chips, room.prepared.keys)["rig-a"].test_boot:
            host.die_at_send = send + 10
            assert room.run(host) is None
            return host
    raise AssertionError("rig-a was never in its test boot")


def test_a_test_boot_that_nobody_watches_ends_by_its_lease(prepared: Prepared) -> None:
    room = Room(prepared, "good")
    in_test_boot(room)
    assert see_chips(room.chips, prepared.keys)["rig-a"].test_boot

    room.let_pass(120)

    chip = see_chips(room.chips, prepared.keys)["rig-a"]
    assert chip.confirmed
    assert chip.active == prepared.hashes["factory"]
    # The host was away: that says nothing against the firmware, which is tried again.
    room.finish()
    kinds = [r["kind"] for r in read_records(room.disk.entries[JOURNAL_NAME])]
    assert kinds.count("retry-granted") == 1


def test_a_stop_in_a_test_boot_sends_nothing_and_leaves_it_to_the_lease(
    prepared: Prepared,
) -> None:
    room = Room(prepared, "good")
    in_test_boot(room)
    before = see_chips(room.chips, prepared.keys)

    state = room.run(room.host(), said=[e.StopRequested(WHO, "smoke")])

    assert state is not None
    assert state.ended is Ending.STOPPED
    assert see_chips(room.chips, prepared.keys) == before
    room.let_pass(120)
    room.check_end()


def test_a_cable_that_stays_out_pauses_and_a_person_goes_on(prepared: Prepared) -> None:
    room = Room(prepared, "good")
    pulled = ScheduledFault(150.4, "rig-a", PullCable(for_s=1e6))

    state = room.run(room.host(), faults=[pulled])

    assert state is not None
    assert state.paused == "device", (state.ended, state.why)
    room.check_moment()
    lost = state.devices["rig-a"]
    assert lost.quarantined
    assert lost.hint
    chip = see_chips(room.chips, prepared.keys)["rig-a"]
    assert chip.confirmed
    assert chip.active == prepared.hashes["factory"]
    # The cable is back, and somebody says so.
    done = room.run(room.host(), said=[e.QuarantineCleared("rig-a", WHO, "cable is back")])
    assert done is not None
    assert done.ended is Ending.CONFIRMED
    room.check_end()


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """Name the crash point in a failure."""
    try:
        yield
    except (AssertionError, InvariantBroken) as error:
        raise AssertionError(f"{where}: {error}") from error
