"""Looks at the chips of a simulated lab, in memory or in its files; see `cryofw.gameday.chip`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.gameday import SeenChip, see_chip
from cryofw.simulator import Bootloader, FileStorage, Flash, MemoryStorage, SignatureCheck
from cryofw.simulator.lab_file import read_description
from cryofw.simulator.slot_image import SlotError, read_slot_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryofw.image import PublicKey
    from cryofw.simulator.flash_storage import FlashStorage


def see_chips(chips: Mapping[str, FlashStorage], keys: Sequence[PublicKey]) -> dict[str, SeenChip]:
    """Look at the chips of a lab in memory."""
    validator = SignatureCheck(keys)
    return {name: see_chip(name, chip, validator) for name, chip in chips.items()}


def see_lab(state: Path) -> dict[str, SeenChip]:
    """Look at all devices of the simulated lab in a state directory, running or not."""
    spec, keys = read_description(state / "sim" / "lab.json")
    validator = SignatureCheck(keys)
    seen = {}
    for one in spec.controllers:
        chip = FileStorage(state / "sim" / "devices" / f"{one.name}.flash", 2 * one.slot_size)
        try:
            seen[one.name] = see_chip(one.name, chip, validator, one.bootloader)
        finally:
            chip.close()
    return seen


def bytes_in_other_slot(state: Path, name: str) -> int:
    """How many bytes of the slot that does not run were programmed so far."""
    spec, _ = read_description(state / "sim" / "lab.json")
    slot_size = next(one.slot_size for one in spec.controllers if one.name == name)
    chip = FileStorage(state / "sim" / "devices" / f"{name}.flash", 2 * slot_size)
    try:
        return slot_size - chip.read(slot_size, slot_size).count(0xFF)
    finally:
        chip.close()


def image_hash(data: bytes) -> str:
    """The hash by which a device names an image file."""
    chip = MemoryStorage(1 << 20)
    chip.write(0, data)
    image = read_slot_image(Bootloader(Flash(chip), lambda _data: True).slot(0))
    assert not isinstance(image, SlotError), image
    return image.hash.hex()
