"""How a bootloader unpacks: the boot side of compressed images, written from its source.

Nothing of `cryofw.image` is used, so that the two can be held against each other. Sources:
boot/zephyr/decompression.c and subsys/nrf_compress/src/lzma.c of the nRF Connect SDK; mainline
MCUboot has the hooks for it, and no decoder.
"""

from __future__ import annotations

import lzma
import struct
from typing import TYPE_CHECKING, Any

from cryofw.simulator.slot_image import (
    HEADER_SIZE,
    SlotError,
    parse_header,
    read_protected_tlvs,
    read_tlvs,
)

if TYPE_CHECKING:
    from cryofw.simulator.flash import FlashArea
    from cryofw.simulator.slot_image import ImageHeader

LZMA2, ARM_THUMB = "lzma2", "lzma2-arm-thumb"
"""What a bootloader can be built to unpack; the second takes the first as well."""

_FLAG_LZMA1, _FLAG_LZMA2, _FLAG_ARM_THUMB = 0x200, 0x400, 0x800
_ANY = _FLAG_LZMA1 | _FLAG_LZMA2 | _FLAG_ARM_THUMB
_SIZE, _SHA, _SIGNATURE, _DECRYPTED_SIZE = 0x70, 0x71, 0x72, 0x73
_SHA256 = 0x10
_SIGNATURES = frozenset({0x20, 0x22, 0x23, 0x24})
_PROTECTED, _UNPROTECTED = 0x6908, 0x6907
_HEADER_SIZE_OF_STREAM = 2
_MAX_DICTIONARY = 128 * 1024
_TLV = struct.Struct("<HH")


def is_compressed(header: ImageHeader) -> bool:
    """Whether a header has any compression flag."""
    return bool(header.flags & _ANY)


def unpacked(area: FlashArea, taken: str, room: int) -> bytes | None:
    """The plain image that a compressed one in a slot becomes, whole.

    Args:
        area: the secondary slot.
        taken: what this bootloader unpacks: `LZMA2`, `ARM_THUMB` or nothing.
        room: bytes of the primary slot.

    Returns:
        None if this bootloader does not take it, or finds it wrong.
    """
    header = parse_header(area.read(0, HEADER_SIZE))
    if isinstance(header, SlotError) or not _is_taken(header.flags, taken):
        return None
    protected = read_protected_tlvs(area, header)
    claims = dict(protected)
    if len(claims.get(_SIZE, b"")) != 4 or _SHA not in claims or _SIGNATURE not in claims:
        return None
    size = int.from_bytes(claims[_SIZE], "little")
    kept = [(t, v) for t, v in protected if t not in (_SIZE, _SHA, _SIGNATURE, _DECRYPTED_SIZE)]
    middle = _area(_PROTECTED, kept) if kept else b""
    if header.header_size + size + len(middle) >= room:
        return None
    stream = area.read(header.header_size, header.image_size)
    body = _decoded(stream, size, thumb=bool(header.flags & _FLAG_ARM_THUMB))
    if body is None:
        return None
    tail = [(t, _of_the_plain(t, v, claims)) for t, v in read_tlvs(area, header)]
    head = bytearray(area.read(0, HEADER_SIZE))
    struct.pack_into("<HII", head, 10, len(middle), size, header.flags & ~_ANY)
    gap = b"\xff" * (header.header_size - HEADER_SIZE)
    return b"".join((head, gap, body, middle, _area(_UNPROTECTED, tail)))


def _is_taken(flags: int, taken: str) -> bool:
    if not taken or flags & _FLAG_LZMA1 or not flags & _FLAG_LZMA2:
        return False
    return taken == ARM_THUMB or not flags & _FLAG_ARM_THUMB


def _of_the_plain(kind: int, value: bytes, claims: dict[int, bytes]) -> bytes:
    if kind == _SHA256:
        return claims[_SHA]
    return claims[_SIGNATURE] if kind in _SIGNATURES else value


def _area(magic: int, entries: list[tuple[int, bytes]]) -> bytes:
    records = b"".join(_TLV.pack(kind, len(value)) + value for kind, value in entries)
    return _TLV.pack(magic, _TLV.size + len(records)) + records


def _decoded(stream: bytes, size: int, *, thumb: bool) -> bytes | None:
    if len(stream) <= _HEADER_SIZE_OF_STREAM:
        return None
    code = stream[0]
    dictionary = (2 | (code & 1)) << (code // 2 + 11) if code < 40 else _MAX_DICTIONARY + 1
    if dictionary > _MAX_DICTIONARY:
        return None
    filters: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary}]
    if thumb:
        filters.insert(0, {"id": lzma.FILTER_ARMTHUMB})
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        body = decoder.decompress(stream[_HEADER_SIZE_OF_STREAM:], max_length=size + 1)
    except lzma.LZMAError:
        return None
    return body if len(body) == size else None
