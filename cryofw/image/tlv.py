"""Type-length-value records of MCUboot images: their types, and areas of them.

Source: MCUboot, boot/bootutil/include/bootutil/image.h. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryofw.image.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = 0x6907
PROTECTED_MAGIC: Final = 0x6908
AREA_LIMIT: Final = 0xFFFF
_PAIR: Final = struct.Struct("<HH")
INFO_SIZE: Final = _PAIR.size


class TlvType(IntEnum):
    """The types that MCUboot defines."""

    KEYHASH = 0x01
    PUBKEY = 0x02
    SHA256 = 0x10
    SHA384 = 0x11
    SHA512 = 0x12
    RSA2048 = 0x20
    ECDSA224 = 0x21
    ECDSA_SIG = 0x22
    RSA3072 = 0x23
    ED25519 = 0x24
    SIG_PURE = 0x25
    ENC_RSA2048 = 0x30
    ENC_KW = 0x31
    ENC_EC256 = 0x32
    ENC_X25519 = 0x33
    ENC_X25519_SHA512 = 0x34
    DEPENDENCY = 0x40
    SEC_CNT = 0x50
    BOOT_RECORD = 0x60
    DECOMP_SIZE = 0x70
    DECOMP_SHA = 0x71
    DECOMP_SIGNATURE = 0x72
    COMP_DEC_SIZE = 0x73
    UUID_VID = 0x74
    UUID_CID = 0x75


BOARD: Final = 0xCFA0
"""Vendor type of the board name (UTF-8), which cryofw writes into the protected area."""

_ENCRYPTION_LOW, _ENCRYPTION_HIGH = 0x30, 0x3F
_VENDOR_LOW_BYTE, _ANY = 0xA0, 0xFFFF


def is_vendor_type(kind: int) -> bool:
    """Whether the type is vendor-reserved: xxA0 to xxFF, without MCUboot's wildcard FFFF."""
    return kind & 0xFF >= _VENDOR_LOW_BYTE and kind != _ANY


def is_encryption_type(kind: int) -> bool:
    """Whether the record carries an encrypted image key."""
    return _ENCRYPTION_LOW <= kind <= _ENCRYPTION_HIGH


def type_name(kind: int) -> str:
    """A type as people read it: `SEC_CNT`, `BOARD`, `vendor 0x01a0`, `unknown 0x0099`."""
    if kind == BOARD:
        return "BOARD"
    try:
        return TlvType(kind).name
    except ValueError:
        return f"{'vendor' if is_vendor_type(kind) else 'unknown'} 0x{kind:04x}"


@dataclass(frozen=True, slots=True)
class Tlv:
    """One record.

    Raises:
        ImageError: the type or the length does not fit 16 bits.
    """

    type: int
    value: bytes

    def __post_init__(self) -> None:
        if not (0 <= self.type <= 0xFFFF and len(self.value) <= AREA_LIMIT):
            raise ImageError(f"TLV {self.type:#x} of {len(self.value)} bytes does not fit 16 bits")

    @property
    def encoded(self) -> bytes:
        """Type, length and value as they lie in the image."""
        return _PAIR.pack(self.type, len(self.value)) + self.value


def encode_area(magic: int, tlvs: Iterable[Tlv]) -> bytes:
    """Magic, total size and the records.

    Raises:
        ImageError: more than 65,535 bytes.
    """
    records = b"".join(tlv.encoded for tlv in tlvs)
    total = INFO_SIZE + len(records)
    if total > AREA_LIMIT:
        raise ImageError("the TLV area is too large", why=f"{total} bytes, at most {AREA_LIMIT}")
    return _PAIR.pack(magic, total) + records


def read_area_info(data: bytes, offset: int) -> tuple[int, int]:
    """Magic and total size of the area at `offset`.

    Raises:
        ImageError: the file ends before it, or the size is impossible.
    """
    if offset + INFO_SIZE > len(data):
        raise ImageError(
            "the image is cut off",
            why=f"its TLV area should begin at byte {offset}, the file has {len(data)} bytes",
        )
    magic, total = _PAIR.unpack_from(data, offset)
    if total < INFO_SIZE or offset + total > len(data):
        raise ImageError(
            "the size of a TLV area is wrong",
            why=f"the area at byte {offset} claims {total} bytes of {len(data) - offset}",
        )
    return magic, total


def decode_records(data: bytes, start: int, end: int) -> tuple[Tlv, ...]:
    """The records that fill `data[start:end]` exactly.

    Raises:
        ImageError: a record crosses the end, or bytes are left over.
    """
    tlvs = []
    while start < end:
        if start + _PAIR.size > end:
            raise ImageError(
                "a TLV area ends inside a record", why=f"{end - start} bytes left at byte {start}"
            )
        kind, length = _PAIR.unpack_from(data, start)
        start += _PAIR.size
        if length > end - start:
            raise ImageError(
                f"TLV {type_name(kind)} is longer than its area",
                why=f"{length} bytes claimed at byte {start}, {end - start} there",
            )
        tlvs.append(Tlv(kind, data[start : start + length]))
        start += length
    return tuple(tlvs)
