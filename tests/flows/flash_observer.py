"""Looks at the simulated chips themselves: what runs, and what MCUboot would start next.

It asks neither cryofw nor the device: it copies the chip and lets a bootloader run on the copy,
so that nothing it looks at is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.simulator import (
    Bootloader,
    BootloaderConfig,
    FileStorage,
    Flash,
    MemoryStorage,
    SignatureCheck,
    SwapType,
)
from cryofw.simulator.lab_file import read_description
from cryofw.simulator.slot_image import SlotError, read_slot_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryofw.image import PublicKey
    from cryofw.simulator.flash_storage import FlashStorage

_RESETS = 3


@dataclass(frozen=True)
class SeenDevice:
    """One chip as it is.

    Attributes:
        active: hex hash of the image in the slot that runs; empty if there is none.
        other: hex hash of a whole image in the other slot; empty if there is none.
        next_swap: what MCUboot would do at the next reset.
        after_resets: hex hash that runs after each of several resets.
        other_used: something was written to the other slot.
    """

    name: str
    active: str
    other: str
    next_swap: SwapType
    after_resets: tuple[str, ...]
    other_used: bool

    @property
    def confirmed(self) -> bool:
        """The image that runs stays, whatever resets come."""
        return self.next_swap is SwapType.NONE and set(self.after_resets) == {self.active}

    @property
    def test_boot(self) -> bool:
        """The next reset takes the image that runs away again."""
        return self.next_swap is SwapType.REVERT

    @property
    def pending(self) -> bool:
        """The next reset swaps the other image in."""
        return self.next_swap in (SwapType.TEST, SwapType.PERMANENT)


def see_chip(
    name: str,
    chip: FlashStorage,
    validator: SignatureCheck,
    config: BootloaderConfig | None = None,
) -> SeenDevice:
    """Look at one chip."""
    bootloader = Bootloader(Flash(_copy(chip)), validator, config or BootloaderConfig())
    active, other, next_swap = _hash(bootloader, 0), _hash(bootloader, 1), bootloader.swap_type()
    used = not bootloader.slot(1).is_erased()
    resets = []
    for _ in range(_RESETS):
        image = bootloader.boot().image
        resets.append(image.hash.hex() if image is not None else "")
    return SeenDevice(name, active, other, next_swap, tuple(resets), used)


def _copy(chip: FlashStorage) -> MemoryStorage:
    copy = MemoryStorage(chip.size)
    copy.write(0, chip.read(0, chip.size))
    return copy


def _hash(bootloader: Bootloader, slot: int) -> str:
    """The hash of a slot's image, if the bootloader would accept it."""
    image = read_slot_image(bootloader.slot(slot))
    if isinstance(image, SlotError) or not bootloader.is_valid(slot):
        return ""
    return image.hash.hex()


def see_chips(
    chips: Mapping[str, FlashStorage], keys: Sequence[PublicKey]
) -> dict[str, SeenDevice]:
    """Look at the chips of a lab in memory."""
    validator = SignatureCheck(keys)
    return {name: see_chip(name, chip, validator) for name, chip in chips.items()}


def see_lab(state: Path) -> dict[str, SeenDevice]:
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
