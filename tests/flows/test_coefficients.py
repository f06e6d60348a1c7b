"""Firmware and coefficients go and come back as a pair, whoever dies on the way.

What the devices have is read from the simulated chips and their storage, not from cryofw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.engine.virtual_time import run_virtual
from cryofw.gameday import InvariantBroken
from cryofw.image import Algorithm
from cryofw.journal import JOURNAL_NAME
from cryofw.release.coefficients import parse_coefficients
from cryofw.rollout import Ending
from cryofw.rollout import events as e
from cryofw.simulator import storm
from cryofw.simulator.settings_group import applied_value
from tests.flows.flash_observer import see_chips
from tests.flows.invariants import read_records
from tests.flows.memory_room import FLEET, WHO, Prepared, Room, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from cryofw.gameday import SeenChip
    from cryofw.image import PublicKey
    from cryofw.simulator import SimulatedLab

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

GAIN, BIAS = "readout/gain", "readout/bias"

WITH_SETTINGS = FLEET.replace("seed: 3, ", "seed: 3, coefficients: {readout/gain: 1.0}, ")
HEARTBEATS_ONLY = (
    "".join(
        line for line in WITH_SETTINGS.splitlines(keepends=True) if "readout_snr" not in line
    ).replace("soak: 150 s", "soak: 60 s")
    + "simulation: {coefficients: {readout/gain: 1.0}}\n"
)
BY_COMMAND = "\n  coefficients: {command: [/usr/local/bin/coefficients, '${controller}']}"

FILE: dict[str, Any] = {
    "schema": "cryofw.coefficients/v1",
    "defaults": {
        GAIN: {"type": "f32", "value": 2.0},
        BIAS: {"type": "f32", "value": 0.25},
    },
    "controllers": {"c1-b": {GAIN: {"type": "f32", "value": 2.0}}},
}
COEFFICIENTS = parse_coefficients(json.dumps(FILE).encode())


def needs(gain: float) -> dict[str, object]:
    return {"need": {"setting": GAIN, "value": gain, "metric": "readout_snr", "by": -3.0}}


# The new firmware knows one setting more than the old one.
NEW: Mapping[str, object] = {**needs(2.0), "settings": {BIAS: 0.0}}
DRIFT = {"metric": "readout_snr", "by": -3.0}
IMAGES: Mapping[str, tuple[Mapping[str, object], Ending]] = {
    "good": (NEW, Ending.CONFIRMED),
    "hang": ({**NEW, "hang_s": 0, "wdt": True}, Ending.ROLLED_BACK),
    "late-hang": ({**NEW, "hang_s": 15, "wdt": True}, Ending.ROLLED_BACK),
    "later-hang": ({**NEW, "hang_s": 90, "wdt": True}, Ending.ROLLED_BACK),
    "forgetful": ({**NEW, "keeps_settings": False}, Ending.ROLLED_BACK),
    "deaf": ({**NEW, "settings_group": False}, Ending.ROLLED_BACK),
    "other-names": ({**needs(2.0)}, Ending.ROLLED_BACK),
}


class PairRoom(Room):
    """A room that knows which coefficients belong to which image."""

    def check_pairs(self, but: Collection[str] = ()) -> None:
        """Once all is over: every device has the coefficients of the image that it runs.

        `but` are those that a person is called to, by name.
        """
        release = self.prepared.hashes[self.image]
        for name, chip in self.see().items():
            if name in but:
                continue
            stored = self.stored(name)
            assert chip.confirmed, f"{name} is in flight"
            if chip.active == release:
                assert stored == {GAIN: 2.0, BIAS: 0.25}, f"{name} runs the new image: {stored}"
            else:
                assert stored.get(GAIN, 1.0) == 1.0, f"{name} runs the old image: {stored}"
                assert BIAS not in stored, f"{name} runs the old image: {stored}"

    def check_moment(self) -> None:
        """Nothing of the new coefficients is kept that was not announced as a save."""
        super().check_moment()
        records = read_records(self.disk.entries.get(JOURNAL_NAME, b""))
        asked = {r["device"] for r in records if r["kind"] in self.keeping}
        for name in self.chips:
            assert name in asked or not self.stored(name), f"{name}: {self.stored(name)}"

    keeping: tuple[str, ...] = ("coefficients-save-requested",)

    def see(self) -> dict[str, SeenChip]:
        """Look at the chips."""
        return see_chips(self.chips, self.prepared.keys)

    def kinds(self, device: str) -> list[str]:
        """What the journal tells of a device, in order."""
        records = read_records(self.disk.entries[JOURNAL_NAME])
        return [record["kind"] for record in records if record.get("device") == device]

    def run_until(self, kind: str) -> None:
        """Run, and let the host die before it writes anything after the first such record."""
        whole = type(self)(self.prepared, self.image)
        host = whole.host()
        assert whole.run(host) is not None
        room, low, high = whole, 0, host.storage.writes
        while low < high:
            write = (low + high) // 2
            tried = type(self)(self.prepared, self.image)
            dying = tried.host()
            dying.storage.die_at(write, 0)
            assert tried.run(dying) is None
            if f'"{kind}"'.encode() in tried.disk.entries.get(JOURNAL_NAME, b""):
                room, high = tried, write
            else:
                low = write + 1
        vars(self).update(vars(room))
        assert not self.ended

    def in_lab(self, act: Callable[[SimulatedLab], object], for_s: float = 10.0) -> None:
        """Do something to the devices while no host is there."""

        async def main() -> None:
            async with self.host().lab as lab:
                act(lab)
                await asyncio.sleep(for_s)

        run_virtual(main())

    def gain(self, name: str) -> float:
        """What the front end of a device uses now."""
        found: list[float | None] = []
        self.in_lab(lambda lab: found.append(applied_value(lab.controller(name).board, GAIN)), 0.0)
        assert found[0] is not None
        return found[0]

    def finish(self) -> None:
        super().finish()
        self.check_pairs()


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """Name the place in what fails."""
    try:
        yield
    except (AssertionError, InvariantBroken) as error:
        raise AssertionError(f"{where}: {error}") from error


@pytest.fixture(scope="module")
def prepared(image_keys: Keys) -> Prepared:
    key, sign = image_keys[Algorithm.ED25519]
    return prepare(
        key,
        sign,
        HEARTBEATS_ONLY,
        behaviours=IMAGES,
        factory_behaviour=needs(1.0),
        coefficients=COEFFICIENTS,
    )


@pytest.mark.parametrize("image", list(IMAGES))
def test_the_pair_goes_and_comes_back(prepared: Prepared, image: str) -> None:
    room = PairRoom(prepared, image)
    state = room.run(room.host())
    assert state is not None
    assert state.ended is IMAGES[image][1], state.why
    room.finish()


@pytest.mark.parametrize("image", ["good", "forgetful", "late-hang", "later-hang"])
@pytest.mark.parametrize("too_late", [False, True], ids=["before", "after"])
def test_a_host_that_dies_at_any_send_is_resumed_and_the_pair_is_whole(
    prepared: Prepared, image: str, too_late: bool
) -> None:
    whole = PairRoom(prepared, image)
    host = whole.host()
    assert whole.run(host) is not None
    for send in range(too_late, host.sent, 7):
        room = PairRoom(prepared, image)
        dying = room.host()
        dying.die_at_send, dying.too_late = send, too_late
        assert room.run(dying) is None
        with told(f"died at send {send} of {host.sent}"):
            room.finish()


@pytest.mark.parametrize("kept", [0, 1 << 30], ids=["nothing", "whole"])
def test_a_host_that_dies_in_any_write_to_its_disk_is_resumed(
    prepared: Prepared, kept: int
) -> None:
    whole = PairRoom(prepared, "good")
    host = whole.host()
    assert whole.run(host) is not None
    for write in range(0, host.storage.writes, 3 if kept else 1):
        room = PairRoom(prepared, "good")
        dying = room.host()
        dying.storage.die_at(write, kept)
        assert room.run(dying) is None
        with told(f"died in write {write} of {host.storage.writes}"):
            room.finish()


# --- a command of the lab writes them: nothing but itself takes them back ----------------------


class CommandRoom(PairRoom):
    """Its command keeps what it sets from the first write on."""

    keeping = ("coefficients-apply-requested",)


@pytest.fixture(scope="module")
def by_command(image_keys: Keys) -> Prepared:
    key, sign = image_keys[Algorithm.ED25519]
    return prepare(
        key,
        sign,
        HEARTBEATS_ONLY.replace("  reset: watchdog", "  reset: watchdog" + BY_COMMAND),
        behaviours={name: IMAGES[name] for name in ("good", "hang", "late-hang", "later-hang")},
        factory_behaviour=needs(1.0),
        coefficients=COEFFICIENTS,
    )


@pytest.mark.parametrize("image", ["good", "hang", "late-hang", "later-hang"])
def test_by_command_the_pair_goes_and_comes_back(by_command: Prepared, image: str) -> None:
    room = CommandRoom(by_command, image)
    assert room.run(room.host()) is not None
    room.finish()


@pytest.mark.parametrize("image", ["good", "late-hang"])
def test_by_command_a_host_that_dies_is_resumed(by_command: Prepared, image: str) -> None:
    whole = CommandRoom(by_command, image)
    host = whole.host()
    assert whole.run(host) is not None
    for send in range(0, host.sent, 11):
        room = CommandRoom(by_command, image)
        dying = room.host()
        dying.die_at_send = send
        assert room.run(dying) is None
        with told(f"died at send {send} of {host.sent}"):
            room.finish()


def test_by_command_a_revert_that_the_host_caused_restores_before_it_tries_again(
    by_command: Prepared,
) -> None:
    room = CommandRoom(by_command, "good")
    room.run_until("coefficients-applied")
    room.let_pass(300)  # nobody renews the lease: the firmware goes back, the command's values stay
    assert room.stored("rig-a") == {GAIN: 2.0, BIAS: 0.25}
    room.finish()
    kinds = room.kinds("rig-a")
    reverted, restored = kinds.index("device-reverted"), kinds.index("coefficients-restored")
    assert reverted < restored < kinds.index("retry-granted")


# --- what else comes between -------------------------------------------------------------------


def test_a_reset_between_confirm_and_save_costs_nothing(prepared: Prepared) -> None:
    room = PairRoom(prepared, "good")
    room.run_until("image-confirmed")
    assert room.stored("rig-a") == {}
    room.in_lab(
        lambda lab: lab.power_cycle("rig-a")
    )  # what was applied is lost, the new image stays
    room.finish()
    assert room.kinds("rig-a").count("coefficients-saved") == 1


def test_nobody_there_and_the_pair_is_back(prepared: Prepared) -> None:
    room = PairRoom(prepared, "good")
    room.run_until("coefficients-applied")
    assert room.gain("rig-a") == 2.0
    room.let_pass(300)
    assert room.gain("rig-a") == 1.0
    assert room.stored("rig-a") == {}
    room.finish()


def test_a_rollback_after_the_end_restores_the_old_ones(prepared: Prepared) -> None:
    room = PairRoom(prepared, "good")
    assert room.run(room.host()) is not None
    room.check_pairs()
    asked = e.RollbackRequested(WHO, "the physicists say so")
    state = room.run(room.host(), said=[asked])
    assert state is not None
    assert state.ended is Ending.ROLLED_BACK
    assert all(chip.active != room.plan.release.hash for chip in room.see().values())
    room.check_end()
    room.check_pairs()
    assert {name: room.stored(name) for name in room.chips} == {
        name: {GAIN: 1.0} for name in room.chips
    }


def test_a_device_without_settings_is_refused_before_anything_is_sent(image_keys: Keys) -> None:
    key, sign = image_keys[Algorithm.ED25519]
    text = HEARTBEATS_ONLY.replace("simulation: {coefficients: {readout/gain: 1.0}}\n", "")
    plain = prepare(
        key, sign, text, behaviours={"good": ({}, Ending.REFUSED)}, coefficients=COEFFICIENTS
    )
    room = PairRoom(plain, "good")
    state = room.run(room.host())
    assert state is not None
    assert state.ended is Ending.REFUSED
    assert "rig-a has no settings over SMP" in state.why
    assert room.see() == room.before


def test_the_release_with_other_coefficients_is_refused(prepared: Prepared) -> None:
    room = PairRoom(prepared, "good")
    assert room.run(room.host()) is not None
    room.disk.entries = dict(prepared.disk.entries)  # another home, with the same devices
    other = {GAIN: struct.pack("<f", 3.0)}
    room.in_lab(lambda lab: lab.controller("rig-a").keep_settings(other))
    state = room.run(room.host())
    assert state is not None
    assert state.ended is Ending.REFUSED
    assert "runs this release already, with other coefficients: readout/gain" in state.why
    assert room.stored("rig-a")[GAIN] == 3.0


STORM = (
    "power-cut", "hang", "boot-loop", "corrupted-bytes", "dropped-bytes", "cable-pulled",
    "late-bytes", "lost-heartbeats",
)  # fmt: skip


@pytest.mark.parametrize("seed", [9, 12, 100, 112])
@pytest.mark.parametrize("image", ["good", "later-hang"])
def test_a_storm_tears_no_pair(
    prepared: Prepared, by_command: Prepared, image: str, seed: int
) -> None:
    for kind, lab in ((PairRoom, prepared), (CommandRoom, by_command)):
        room = kind(lab, image)
        faults = storm(seed, sorted(room.chips), duration_s=420, count=6, names=STORM)
        state = room.run(room.host(), faults=faults)
        for _ in range(5):
            assert state is not None
            if state.ended:
                break
            room.let_pass(120)
            state = room.run(room.host())
        assert state is not None
        assert state.ended is not None
        room.check_moment()
        room.check_pairs({name for name, one in state.devices.items() if one.quarantined})


# --- the pair on trial: a torn one is out of calibration ---------------------------------------

MEASURED: Mapping[str, tuple[Mapping[str, object], Ending]] = {
    "good": (NEW, Ending.CONFIRMED),
    "drift": ({**NEW, "shift": {**DRIFT, "after_s": 40}}, Ending.ROLLED_BACK),
    "wrong-gain": ({**NEW, **needs(4.0)}, Ending.ROLLED_BACK),
}


@pytest.mark.parametrize("image", list(MEASURED))
def test_the_pair_is_what_is_judged(image_keys: Keys, image: str) -> None:
    key, sign = image_keys[Algorithm.ED25519]
    measured = prepare(
        key,
        sign,
        WITH_SETTINGS,
        behaviours={image: MEASURED[image]},
        factory_behaviour=needs(1.0),
        coefficients=COEFFICIENTS,
    )
    room = PairRoom(measured, image)
    state = room.run(room.host())
    assert state is not None
    assert state.ended is MEASURED[image][1], state.why
    room.finish()
    if image != "good":
        assert "readout_snr" in state.why
