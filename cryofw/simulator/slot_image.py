"""What a slot holds, read the way the device reads it: header and TLVs, no hash computed.

The numbers of `SlotError` are the return codes of the SMP image group (Zephyr, img_mgmt.h).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.simulator.flash import FlashArea

IMAGE_MAGIC = 0x96F3B83D
HEADER_SIZE = 32

_HEADER = struct.Struct("<IIHHIIBBHII")
_TLV_INFO = struct.Struct("<HH")
_TLV_MAGIC = 0x6907
_PROTECTED_TLV_MAGIC = 0x6908
_TLV_SHA256 = 0x10
_TLV_SECURITY_COUNTER = 0x50
_FLAG_NON_BOOTABLE = 0x10


class SlotError(IntEnum):
    """Why no image can be read from a slot."""

    NO_IMAGE = 3
    NO_TLVS = 4
    INVALID_TLV = 5
    MULTIPLE_HASHES = 6
    HASH_NOT_FOUND = 8
    INVALID_MAGIC = 23


@dataclass(frozen=True)
class ImageHeader:
    """The fields of a header that the device looks at; sizes in bytes."""

    header_size: int
    protected_size: int
    image_size: int
    flags: int
    version: tuple[int, int, int, int]

    @property
    def bootable(self) -> bool:
        """Whether the bootloader may start it."""
        return not self.flags & _FLAG_NON_BOOTABLE

    @property
    def version_text(self) -> str:
        """The version as SMP servers print it: `2.0.0.7` for `2.0.0+7`."""
        parts = self.version if self.version[3] else self.version[:3]
        return ".".join(map(str, parts))


@dataclass(frozen=True)
class SlotImage:
    """An image in a slot: `hash` is its TLV, `size` all its bytes, TLVs included."""

    header: ImageHeader
    hash: bytes
    size: int
    security_counter: int | None


def parse_header(data: bytes) -> ImageHeader | SlotError:
    """Read a header from at least 32 bytes."""
    fields = _HEADER.unpack_from(data)
    if fields[0] != IMAGE_MAGIC:
        return SlotError.NO_IMAGE if fields[0] == 0xFFFFFFFF else SlotError.INVALID_MAGIC
    _, _, header_size, protected, image_size, flags, major, minor, revision, build, _ = fields
    return ImageHeader(header_size, protected, image_size, flags, (major, minor, revision, build))


def _read_tlv_area(area: FlashArea, offset: int, magic: int) -> bytes | None:
    info = area.read(offset, _TLV_INFO.size)
    if len(info) < _TLV_INFO.size:
        return None
    found, total = _TLV_INFO.unpack(info)
    if found != magic or total < _TLV_INFO.size or offset + total > area.size:
        return None
    return area.read(offset, total)


def _entries(tlv_area: bytes) -> list[tuple[int, bytes]] | None:
    entries = []
    offset = _TLV_INFO.size
    while offset + _TLV_INFO.size <= len(tlv_area):
        kind, length = _TLV_INFO.unpack_from(tlv_area, offset)
        if kind == 0xFFFF and length == 0xFFFF:
            return None
        offset += _TLV_INFO.size
        entries.append((kind, tlv_area[offset : offset + length]))
        offset += length
    return entries


def read_tlvs(area: FlashArea, header: ImageHeader) -> list[tuple[int, bytes]]:
    """The unprotected records of the image in a slot, type and value; none if they are broken."""
    offset = header.header_size + header.image_size + header.protected_size
    return _entries(_read_tlv_area(area, offset, _TLV_MAGIC) or b"") or []


def read_protected_tlvs(area: FlashArea, header: ImageHeader) -> list[tuple[int, bytes]]:
    """The same of its protected records."""
    offset = header.header_size + header.image_size
    return _entries(_read_tlv_area(area, offset, _PROTECTED_TLV_MAGIC) or b"") or []


def read_slot_image(area: FlashArea) -> SlotImage | SlotError:
    """Read what the slot holds, without checking that it is valid."""
    header = parse_header(area.read(0, HEADER_SIZE))
    if isinstance(header, SlotError):
        return header
    offset = header.header_size + header.image_size
    protected = _read_tlv_area(area, offset, _PROTECTED_TLV_MAGIC) or b""
    tlvs = _read_tlv_area(area, offset + len(protected), _TLV_MAGIC)
    if tlvs is None:
        return SlotError.NO_TLVS
    entries = _entries(tlvs)
    if entries is None:
        return SlotError.INVALID_TLV
    hashes = [value for kind, value in entries if kind == _TLV_SHA256 and len(value) == 32]
    if len(hashes) != 1:
        return SlotError.MULTIPLE_HASHES if hashes else SlotError.HASH_NOT_FOUND
    counters = [
        int.from_bytes(value, "little")
        for kind, value in _entries(protected) or []
        if kind == _TLV_SECURITY_COUNTER
    ]
    return SlotImage(
        header=header,
        hash=hashes[0],
        size=offset + len(protected) + len(tlvs),
        security_counter=counters[0] if counters else None,
    )
