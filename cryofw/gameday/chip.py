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
    Flash,
    MemoryStorage,
    SignatureCheck,
    SwapType,
)
from cryofw.simulator.slot_image import SlotError, read_slot_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.image import PublicKey
    from cryofw.simulator.flash_storage import FlashStorage

_RESETS = 3


@dataclass(frozen=True)
class SeenChip:
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
) -> SeenChip:
    """Look at one chip."""
    bootloader = Bootloader(Flash(_copy(chip)), validator, config or BootloaderConfig())
    active, other, next_swap = _hash(bootloader, 0), _hash(bootloader, 1), bootloader.swap_type()
    used = not bootloader.slot(1).is_erased()
    resets = []
    for _ in range(_RESETS):
        image = bootloader.boot().image
        resets.append(image.hash.hex() if image is not None else "")
    return SeenChip(name, active, other, next_swap, tuple(resets), used)


def _copy(chip: FlashStorage) -> MemoryStorage:
    if isinstance(chip, MemoryStorage):
        return chip.copy()
    copy = MemoryStorage(chip.size)
    copy.write(0, chip.read(0, chip.size))
    return copy


def _hash(bootloader: Bootloader, slot: int) -> str:
    """The hash of a slot's image, if the bootloader would accept it."""
    image = read_slot_image(bootloader.slot(slot))
    if isinstance(image, SlotError) or not bootloader.is_valid(slot):
        return ""
    return image.hash.hex()


class ChipObserver:
    """Looks at the chips of a lab in memory, again and again; an unchanged one costs nothing.

    Args:
        chips: by device.
        keys: what their bootloaders trust.
    """

    def __init__(self, chips: Mapping[str, MemoryStorage], keys: Sequence[PublicKey]) -> None:
        self._chips = chips
        self._validator = SignatureCheck(keys)
        self._seen: dict[str, tuple[object, SeenChip]] = {}

    def see(self) -> dict[str, SeenChip]:
        """All chips as they are now."""
        return {name: self._see(name, chip) for name, chip in self._chips.items()}

    def _see(self, name: str, chip: MemoryStorage) -> SeenChip:
        content = chip.content
        known = self._seen.get(name)
        if known is not None and known[0] == content:
            return known[1]
        seen = see_chip(name, chip, self._validator)
        self._seen[name] = (content, seen)
        return seen
