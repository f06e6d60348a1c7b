"""What a plan asks of bootloaders that overwrite, and of those that unpack images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryofw.fleet import Fleet, parse_fleet
from cryofw.release import Firmware
from cryofw.rollout import Plan, PlanRefused, Running, Wish, make_plan

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s}
  reset: watchdog
  bootloader: {BOOTLOADER}
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
stages: [{name: rig, targets: [rig-1], soak: 10 min}]
cryostats: {rig-1: {controllers: {r: {port: "sim://r"}}}}
"""
OLD = Firmware("bb" * 32, "ee" * 32, "1.0.0", 2, 4096, "cc40", "dd" * 32)
PLAIN = replace(OLD, hash="aa" * 32, version="1.1.0")
PACKED = replace(PLAIN, uploaded_hash="cc" * 32, compression="lzma2", size=3000, unpacked_size=5000)
SWAPS = Running(OLD.hash, "1.0.0", "5a", 8192, watchdog=True, overwrites=False, primary_size=8192)
OVERWRITES = replace(SWAPS, overwrites=True)
SILENT = replace(SWAPS, overwrites=None)


def fleet_with(bootloader: str) -> Fleet:
    return parse_fleet(TEXT.replace("BOOTLOADER", bootloader), "fleet.yaml")


def plan_of(
    bootloader: str, release: Firmware, answer: Running, *accepted: str, old: Firmware = OLD
) -> Plan:
    wish = Wish(release, "anna", "2026-11-20T23:00:00Z", "00", {"no-way-back": accepted})
    return make_plan(fleet_with(bootloader), wish, {"r": answer}, {OLD.hash: old}, {})


@pytest.mark.parametrize(
    ("bootloader", "release", "answer", "overwrites"),
    [
        ("", PLAIN, SWAPS, False),
        ("mode: swap", PLAIN, SWAPS, False),
        ("", PLAIN, SILENT, False),
        ("", PLAIN, OVERWRITES, True),
        ("mode: overwrite-only", PLAIN, SILENT, True),
        ("compressed: lzma2", PACKED, SILENT, True),
        ("compressed: lzma2-arm-thumb", PACKED, OVERWRITES, True),
    ],
)
def test_how_it_updates_stands_in_the_plan(
    bootloader: str, release: Firmware, answer: Running, *, overwrites: bool
) -> None:
    plan = plan_of(bootloader, release, answer, *(["r"] if overwrites else []))
    assert plan.devices["r"].connection.overwrites is overwrites
    assert plan.release.slot_hash == (release.uploaded_hash or release.hash)


@pytest.mark.parametrize(
    ("bootloader", "release", "answer", "accepted", "words"),
    [
        ("", PLAIN, OVERWRITES, (), "its bootloader overwrites the running image"),
        ("mode: overwrite-only", PLAIN, SILENT, (), "its bootloader overwrites"),
        ("mode: overwrite-only", PLAIN, SWAPS, ("r",), "overwrites; it swaps"),
        ("mode: swap", PLAIN, OVERWRITES, ("r",), "swaps; it overwrites"),
        ("", PACKED, OVERWRITES, ("r",), "does not say that its bootloader unpacks that"),
        ("", PACKED, SWAPS, ("r",), "does not say that its bootloader unpacks that"),
        (
            "compressed: lzma2",
            replace(PACKED, compression="lzma2-arm-thumb"),
            OVERWRITES,
            ("r",),
            "compressed (lzma2-arm-thumb)",
        ),
        (
            "compressed: lzma2",
            PACKED,
            replace(OVERWRITES, primary_size=4999),
            ("r",),
            "has 5000 bytes; the slot has 4999",
        ),
        ("compressed: lzma2", replace(PACKED, size=9000), OVERWRITES, ("r",), "do not fit"),
        (
            "compressed: lzma2",
            PACKED,
            replace(OVERWRITES, slot_size=4000),
            ("r",),
            "the plain file of the running image has 4096 bytes",
        ),
    ],
)
def test_what_cannot_go_well_is_refused(
    bootloader: str, release: Firmware, answer: Running, accepted: tuple[str, ...], words: str
) -> None:
    with pytest.raises(PlanRefused) as refusal:
        plan_of(bootloader, release, answer, *accepted)
    assert words in str(refusal.value.why)
