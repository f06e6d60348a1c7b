"""The end of a flash slot: how much room MCUboot needs there, and the padding up to it.

Source: MCUboot docs/design.md "Image trailer", and imgtool's `_trailer_size` and `pad_to`.
The padding is outside of hash and signature, so only its one exact form is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryofw.image.errors import ImageError, ImageRejected

ALIGNMENTS: Final = (1, 2, 4, 8, 16, 32)
MAX_ALIGNMENTS: Final = (8, 16, 32)
MAGIC_SIZE: Final = 16
_MAGIC: Final = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_WIDE_MAGIC: Final = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
_IMAGE_OK: Final = 0x01
ERASED_VALUES: Final = (0x00, 0xFF)


@dataclass(frozen=True, slots=True)
class TrailerLayout:
    """What decides the trailer's size.

    `align` is the flash write size in bytes (1 to 32), `max_align` the larger one of both slots
    (8, 16, 32; default: `align`, at least 8), `max_sectors` the most sectors of a slot,
    `overwrite_only` a bootloader that does not swap.

    Raises:
        ImageError: an alignment or a sector count that MCUboot does not have.
    """

    align: int = 1
    max_align: int | None = None
    max_sectors: int = 128
    overwrite_only: bool = False

    def __post_init__(self) -> None:
        if self.align not in ALIGNMENTS:
            raise ImageError(f"the flash alignment {self.align} is not one of {ALIGNMENTS}")
        if self.max_align is not None and self.max_align not in MAX_ALIGNMENTS:
            raise ImageError(f"the largest alignment {self.max_align} is not in {MAX_ALIGNMENTS}")
        if not 1 <= self.max_sectors <= 0xFFFF:
            raise ImageError(f"a slot of {self.max_sectors} sectors makes no sense")

    @property
    def widest(self) -> int:
        """The alignment of the trailer's fields, bytes."""
        return self.max_align or max(8, self.align)

    @property
    def size(self) -> int:
        """Bytes at the end of the slot that the image must leave free."""
        magic = _magic_room(self.widest)
        if self.overwrite_only:
            return self.widest * 2 + magic
        return self.max_sectors * 3 * self.align + self.widest * 4 + magic


def _magic_room(widest: int) -> int:
    return -(-MAGIC_SIZE // widest) * widest


def _magic(widest: int) -> bytes:
    return _MAGIC if widest == 8 else widest.to_bytes(2, "little") + _WIDE_MAGIC


def pad_to_slot(size: int, *, widest: int, erased: int, confirm: bool) -> bytes:
    """`size` bytes of erased flash that end with the trailer's magic.

    The caller has checked that `size` holds the trailer. `confirm` sets image_ok.
    """
    padding = bytearray([erased]) * size
    padding[-MAGIC_SIZE:] = _magic(widest)
    if confirm:
        padding[-_magic_room(widest) - widest] = _IMAGE_OK
    return bytes(padding)


def read_padding(padding: bytes, erased: int) -> bool:
    """Check that the bytes after an image are exactly such padding; whether image_ok is set.

    On flash that erases to 0, one flipped bit would turn an image that is to be tested into a
    confirmed one, so image_ok is refused there.

    Raises:
        ImageRejected: anything else.
    """
    widest = _widest_of(padding)
    if widest is None or len(padding) < TrailerLayout(8, widest, overwrite_only=True).size:
        raise ImageRejected(
            "bytes follow the image that do not belong to it",
            why=f"{len(padding)} bytes that are no trailer of a slot",
        )
    for confirm in (False, True) if erased else (False,):
        if padding == pad_to_slot(len(padding), widest=widest, erased=erased, confirm=confirm):
            return confirm
    raise ImageRejected(
        "bytes follow the image that do not belong to it",
        why=f"the padding is not erased flash (0x{erased:02x}) with a trailer",
    )


def _widest_of(padding: bytes) -> int | None:
    end = padding[-MAGIC_SIZE:]
    return next((widest for widest in MAX_ALIGNMENTS if end == _magic(widest)), None)
