"""Firmware and coefficients go and come back as a pair, whoever dies on the way.

What the devices have is read from the simulated chips and their storage, not from cryofw.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.image import Algorithm
from cryofw.journal import JOURNAL_NAME
from cryofw.release.coefficients import parse_coefficients
from cryofw.rollout import Ending
from tests.flows.flash_observer import see_chips
from tests.flows.invariants import read_records
from tests.flows.memory_room import FLEET, Prepared, Room, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cryofw.image import PublicKey

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

    def check_pairs(self) -> None:
        """Once all is over: every device has the coefficients of the image that it runs."""
        release = self.prepared.hashes[self.image]
        for name, chip in see_chips(self.chips, self.prepared.keys).items():
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

    keeping = ("coefficients-save-requested",)

    def finish(self) -> None:
        super().finish()
        self.check_pairs()


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """Name the place in what fails."""
    try:
        yield
    except AssertionError as error:
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
    for write in range(host.storage.writes):
        room = PairRoom(prepared, "good")
        dying = room.host()
        dying.storage.die_at(write, kept)
        assert room.run(dying) is None
        with told(f"died in write {write} of {host.storage.writes}"):
            room.finish()
