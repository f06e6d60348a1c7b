"""The MCUboot trailer at the end of a slot: what it says and how it is written.

Layout (from the end, each field padded to 8 bytes): magic, image_ok, copy_done, swap info,
swap size, below them the swap status entries, and below these what is noted of encrypted images
(MCUboot has it between the two). Source: MCUboot docs/design.md, "Image trailer".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from cryofw.simulator.encryption import NOTE_SIZE, BodyCipher, read_note, write_note

if TYPE_CHECKING:
    from cryofw.simulator.flash import FlashArea

MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
FIELD_SIZE = 8

_MAGIC_OFFSET = len(MAGIC)
_IMAGE_OK_OFFSET = _MAGIC_OFFSET + FIELD_SIZE
_COPY_DONE_OFFSET = _IMAGE_OK_OFFSET + FIELD_SIZE
_SWAP_INFO_OFFSET = _COPY_DONE_OFFSET + FIELD_SIZE
_SWAP_SIZE_OFFSET = _SWAP_INFO_OFFSET + FIELD_SIZE


class Magic(Enum):
    """State of the 16 magic bytes; a torn write makes them bad."""

    GOOD = "good"
    UNSET = "unset"
    BAD = "bad"


class Flag(IntEnum):
    """State of a one-byte flag, numbered as MCUboot prints it."""

    SET = 1
    BAD = 2
    UNSET = 3


class SwapType(IntEnum):
    """What the bootloader will do or did, numbered as in the trailer."""

    NONE = 1
    TEST = 2
    PERMANENT = 3
    REVERT = 4

    @property
    def title(self) -> str:
        """The word MCUboot prints."""
        return {1: "none", 2: "test", 3: "perm", 4: "revert"}[self.value]


@dataclass(frozen=True)
class Trailer:
    """One slot's trailer as read."""

    magic: Magic
    swap_type: SwapType
    copy_done: Flag
    image_ok: Flag

    def describe(self) -> str:
        """One line in MCUboot's own words, for the boot log."""
        return (
            f"magic={self.magic.value}, swap_type={self.swap_type:#x}, "
            f"copy_done={self.copy_done:#x}, image_ok={self.image_ok:#x}"
        )


def _read_flag(area: FlashArea, offset: int) -> Flag:
    value = area.read(area.size - offset, 1)[0]
    if value == 0xFF:
        return Flag.UNSET
    return Flag.SET if value == 1 else Flag.BAD


def read_trailer(area: FlashArea) -> Trailer:
    """Read the trailer of a slot; an unset or torn swap type reads as NONE."""
    raw = area.read(area.size - _MAGIC_OFFSET, _MAGIC_OFFSET)
    if raw == MAGIC:
        magic = Magic.GOOD
    else:
        magic = Magic.UNSET if raw == b"\xff" * len(MAGIC) else Magic.BAD
    kind = area.read(area.size - _SWAP_INFO_OFFSET, 1)[0]
    return Trailer(
        magic=magic,
        swap_type=SwapType(kind) if kind in SwapType.__members__.values() else SwapType.NONE,
        copy_done=_read_flag(area, _COPY_DONE_OFFSET),
        image_ok=_read_flag(area, _IMAGE_OK_OFFSET),
    )


def next_swap_type(primary: Trailer, secondary: Trailer) -> SwapType:
    """Say what the bootloader would do at the next boot (MCUboot's swap state table).

    A magic torn in the secondary slot does not stop a revert: a power cut while one begins must
    not make a test image permanent.
    """
    if secondary.magic is Magic.GOOD:
        return SwapType.PERMANENT if secondary.image_ok is Flag.SET else SwapType.TEST
    if (
        primary.magic is Magic.GOOD
        and primary.image_ok is Flag.UNSET
        and primary.copy_done is Flag.SET
    ):
        return SwapType.REVERT
    return SwapType.NONE


def is_swap_interrupted(primary: Trailer) -> bool:
    """Say whether a swap has begun and not ended.

    A factory image that was padded and confirmed by imgtool has a magic but no swap type.
    """
    return (
        primary.magic is Magic.GOOD
        and primary.copy_done is Flag.UNSET
        and primary.swap_type is not SwapType.NONE
    )


def _write_field(area: FlashArea, offset: int, value: bytes) -> None:
    area.program(area.size - offset, value.ljust(FIELD_SIZE, b"\xff"))


def write_magic(area: FlashArea) -> None:
    """Mark the trailer as valid; written last when a swap begins."""
    area.program(area.size - _MAGIC_OFFSET, MAGIC)


def write_image_ok(area: FlashArea) -> None:
    """Confirm the image of the slot."""
    _write_field(area, _IMAGE_OK_OFFSET, b"\x01")


def write_copy_done(area: FlashArea) -> None:
    """Note that the swap into this slot is complete."""
    _write_field(area, _COPY_DONE_OFFSET, b"\x01")


def write_swap_type(area: FlashArea, swap_type: SwapType) -> None:
    """Note which kind of swap was asked for."""
    _write_field(area, _SWAP_INFO_OFFSET, bytes([swap_type]))


def write_swap_size(area: FlashArea, size: int) -> None:
    """Note how many bytes the swap moves."""
    _write_field(area, _SWAP_SIZE_OFFSET, size.to_bytes(4, "little"))


def read_swap_size(area: FlashArea) -> int:
    """Return how many bytes the interrupted swap moves."""
    return int.from_bytes(area.read(area.size - _SWAP_SIZE_OFFSET, 4), "little")


def status_offset(area: FlashArea) -> int:
    """Offset of the first swap status entry: three entries for each sector of the slot."""
    sectors = area.size // area.flash.sector_size
    return area.size - _SWAP_SIZE_OFFSET - 3 * sectors * FIELD_SIZE


def trailer_offset(area: FlashArea) -> int:
    """Offset of the first sector that belongs to the trailer."""
    sector_size = area.flash.sector_size
    return _notes_offset(area) // sector_size * sector_size


def _notes_offset(area: FlashArea) -> int:
    return status_offset(area) - 2 * NOTE_SIZE


def write_ciphers(area: FlashArea, ciphers: tuple[BodyCipher | None, BodyCipher | None]) -> None:
    """Note how the images that were in slot 0 and slot 1 before a swap are encrypted."""
    if any(ciphers):
        area.program(_notes_offset(area), b"".join(map(write_note, ciphers)))


def read_ciphers(area: FlashArea) -> tuple[BodyCipher | None, BodyCipher | None]:
    """Return what `write_ciphers` noted."""
    notes = area.read(_notes_offset(area), 2 * NOTE_SIZE)
    return read_note(notes[:NOTE_SIZE]), read_note(notes[NOTE_SIZE:])


def erase_trailer(area: FlashArea) -> None:
    """Erase the sectors that hold the trailer."""
    area.erase(trailer_offset(area))
