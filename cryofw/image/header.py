"""The header of an MCUboot image: 32 bytes, little-endian (MCUboot, image.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from cryofw.image.errors import ImageError
from cryofw.image.version import Version

MAGIC: Final = 0x96F3_B83D
_LAYOUT: Final = struct.Struct("<IIHHIIBBHII")
HEADER_SIZE: Final = _LAYOUT.size


class HeaderFlag(IntFlag):
    """The flags that MCUboot defines."""

    PIC = 0x001
    ENCRYPTED_AES128 = 0x004
    ENCRYPTED_AES256 = 0x008
    NON_BOOTABLE = 0x010
    RAM_LOAD = 0x020
    ROM_FIXED = 0x100
    COMPRESSED_LZMA1 = 0x200
    COMPRESSED_LZMA2 = 0x400
    COMPRESSED_ARM_THUMB = 0x800

    @classmethod
    def names(cls, flags: int) -> tuple[str, ...]:
        """The set bits by name; bits that MCUboot does not define as a hex number."""
        known = [flag.name or "" for flag in cls if flags & flag]
        unknown = flags & ~ALL_FLAGS
        return (*known, f"0x{unknown:x}") if unknown else tuple(known)


ALL_FLAGS: Final = sum(HeaderFlag)
COMPRESSED: Final = (
    HeaderFlag.COMPRESSED_LZMA1 | HeaderFlag.COMPRESSED_LZMA2 | HeaderFlag.COMPRESSED_ARM_THUMB
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the first 32 bytes say; sizes in bytes.

    `header_size` is where the body begins, `body_size` leaves out header and TLVs,
    `protected_size` counts the protected TLV area with its own 4-byte head (0 = none).
    """

    load_addr: int
    header_size: int
    protected_size: int
    body_size: int
    flags: int
    version: Version
    reserved: int = 0

    def encode(self) -> bytes:
        """The 32 bytes.

        Raises:
            ImageError: a number does not fit its field.
        """
        version = self.version
        try:
            return _LAYOUT.pack(
                MAGIC,
                self.load_addr,
                self.header_size,
                self.protected_size,
                self.body_size,
                self.flags,
                version.major,
                version.minor,
                version.revision,
                version.build,
                self.reserved,
            )
        except struct.error as error:
            raise ImageError("a number does not fit the image header", why=str(error)) from error

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Read the header at the start of a file.

        Raises:
            ImageError: too short, another magic, or a header size below 32.
        """
        if len(data) < HEADER_SIZE:
            raise ImageError(
                "this is not an MCUboot image",
                why=f"{len(data)} bytes are less than its {HEADER_SIZE}-byte header",
            )
        magic, load_addr, header_size, protected_size, body_size, flags, *version, reserved = (
            _LAYOUT.unpack_from(data)
        )
        if magic != MAGIC:
            raise ImageError(
                "this is not an MCUboot image",
                why=f"it begins with 0x{magic:08x} instead of 0x{MAGIC:08x}",
                hint="an unsigned binary becomes an image with `cryofw sign`",
            )
        if header_size < HEADER_SIZE:
            raise ImageError(
                "the image's header size is wrong",
                why=f"{header_size} bytes, at least {HEADER_SIZE}",
            )
        return cls(
            load_addr, header_size, protected_size, body_size, flags, Version(*version), reserved
        )
