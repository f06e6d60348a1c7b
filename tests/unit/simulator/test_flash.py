"""The simulated chip: what NOR flash can do, and what it cannot."""

from __future__ import annotations

import pytest

from cryofw.simulator import Flash, MemoryStorage, PowerCut, PowerLostError
from cryofw.simulator.flash import FlashArea, FlashMisuseError


def chip() -> Flash:
    return Flash(MemoryStorage(8192, block_size=512), sector_size=1024, write_size=4)


def test_programming_only_clears_bits() -> None:
    flash = chip()
    flash.program(0, b"\xf0\xf0\xf0\xf0")
    flash.program(0, b"\x3c\x3c\x3c\x3c")
    assert flash.read(0, 5) == b"\x30\x30\x30\x30\xff"


def test_erasing_brings_whole_sectors_back() -> None:
    flash = chip()
    flash.program(1020, bytes(8))
    flash.erase(1024, 1024)
    assert flash.read(1020, 8) == bytes(4) + b"\xff" * 4
    assert not flash.is_erased(0, 1024)
    assert flash.is_erased(1024, 1024)


@pytest.mark.parametrize(
    ("offset", "data"), [(2, bytes(4)), (0, bytes(3)), (8192, bytes(4)), (-4, bytes(4))]
)
def test_bad_writes(offset: int, data: bytes) -> None:
    with pytest.raises(FlashMisuseError):
        chip().program(offset, data)


@pytest.mark.parametrize(("offset", "length"), [(512, 1024), (0, 100), (7168, 2048)])
def test_bad_erases(offset: int, length: int) -> None:
    with pytest.raises(FlashMisuseError):
        chip().erase(offset, length)


def test_slot_is_not_left() -> None:
    slot = FlashArea(chip(), 1024, 2048)
    with pytest.raises(FlashMisuseError):
        slot.program(2048, bytes(4))
    with pytest.raises(FlashMisuseError):
        slot.erase(1024, 2048)
    assert slot.read(2046, 100) == b"\xff\xff"


def test_power_cut_tears_a_write_in_the_middle() -> None:
    flash = chip()
    flash.arm(PowerCut(1, torn=0.5))
    with pytest.raises(PowerLostError):
        flash.program(0, bytes(1000))
    assert flash.read(0, 1024) == bytes(256 + 128) + b"\xff" * (1024 - 384)


def test_power_cut_tears_an_erase_in_the_middle() -> None:
    flash = chip()
    flash.program(0, bytes(2048))
    flash.arm(PowerCut(1, torn=0.25))
    with pytest.raises(PowerLostError):
        flash.erase(0, 2048)
    assert flash.read(0, 2048) == b"\xff" * (1024 + 256) + bytes(768)


def test_erased_sectors_cost_nothing() -> None:
    flash = chip()
    flash.program(0, bytes(4))
    flash.erase(0, 8192)
    activity = flash.take_activity()
    assert (activity.erased_sectors, activity.programmed_bytes) == (1, 4)
    assert flash.take_activity().erased_sectors == 0


def test_copies_are_independent() -> None:
    first = MemoryStorage(4096, block_size=512)
    first.write(0, b"shared")
    second = first.copy()
    second.write(0, b"SHARED")
    assert first.read(0, 6) == b"shared"
    assert second.read(510, 4) == b"\xff" * 4


def test_a_chip_has_whole_sectors() -> None:
    with pytest.raises(FlashMisuseError):
        Flash(MemoryStorage(1000), sector_size=1024)
