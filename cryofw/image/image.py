"""A parsed MCUboot image: header, body, protected and unprotected TLVs, padding."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryofw.image import tlv as tlvs_module
from cryofw.image.dependency import Dependency
from cryofw.image.errors import ImageError
from cryofw.image.header import Header, HeaderFlag
from cryofw.image.tlv import Tlv, TlvType

if TYPE_CHECKING:
    from cryofw.image.version import Version

_COUNTER: Final = struct.Struct("<I")


@dataclass(frozen=True)
class Image:
    """What a file says it is. Nothing in it is proven: only `verify_image` does that.

    `data` is the whole file, padding included; `size` is where the image ends in it.
    """

    header: Header
    protected: tuple[Tlv, ...]
    tlvs: tuple[Tlv, ...]
    data: bytes = field(repr=False)
    size: int

    @property
    def version(self) -> Version:
        """The version in the header."""
        return self.header.version

    @property
    def header_size(self) -> int:
        """Bytes before the body."""
        return self.header.header_size

    @property
    def load_addr(self) -> int:
        """RAM load address, or the flash address of a ROM_FIXED image; else 0."""
        return self.header.load_addr

    @property
    def flags(self) -> int:
        """Header flags, see HeaderFlag."""
        return self.header.flags

    @property
    def bootable(self) -> bool:
        """False for an image that MCUboot never starts (NON_BOOTABLE)."""
        return not self.flags & HeaderFlag.NON_BOOTABLE

    @property
    def body(self) -> bytes:
        """The firmware without header and TLVs (a copy)."""
        return self.data[self.header_size : self.header_size + self.header.body_size]

    @property
    def hashed_region(self) -> memoryview:
        """Header, body and protected TLVs: what hash and signature cover."""
        header = self.header
        return memoryview(self.data)[
            : header.header_size + header.body_size + header.protected_size
        ]

    @property
    def padding(self) -> bytes:
        """The bytes after the image, up to the end of the file."""
        return self.data[self.size :]

    @property
    def hash(self) -> bytes:
        """The SHA256 TLV, by which SMP names the image; empty when there is none."""
        return next((tlv.value for tlv in self.tlvs if tlv.type == TlvType.SHA256), b"")

    @property
    def key_hash(self) -> bytes:
        """The KEYHASH TLV: SHA-256 of the encoded public key; empty when there is none."""
        return next((tlv.value for tlv in self.tlvs if tlv.type == TlvType.KEYHASH), b"")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the hashed region, computed."""
        return sha256(self.hashed_region).digest()

    @property
    def security_counter(self) -> int | None:
        """The protected security counter; None when the image has none."""
        value = self._first_protected(TlvType.SEC_CNT)
        return None if value is None else int(_COUNTER.unpack(value)[0])

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The protected dependencies, in their order."""
        return tuple(
            Dependency.decode(tlv.value) for tlv in self.protected if tlv.type == TlvType.DEPENDENCY
        )

    @property
    def board(self) -> str | None:
        """The board that the image is for; None when the signer did not say."""
        value = self._first_protected(tlvs_module.BOARD)
        return None if value is None else value.decode()

    def _first_protected(self, kind: int) -> bytes | None:
        return next((tlv.value for tlv in self.protected if tlv.type == kind), None)


def parse_image(data: bytes) -> Image:
    """Read an image file (binary) of any content.

    Checked is the structure only: sizes, areas, records. Sizes are summed without wrapping at
    32 bits, as a bootloader's may, and each sum is held against the file. Time and memory are
    bounded by the size of the file.

    Raises:
        ImageError: not an MCUboot image, cut off, or sizes that do not agree.
    """
    header = Header.decode(data)
    start = header.header_size + header.body_size
    protected: tuple[Tlv, ...] = ()
    magic, total = tlvs_module.read_area_info(data, start)
    if header.protected_size or magic == tlvs_module.PROTECTED_MAGIC:
        _check_protected_area(header, magic, total)
        protected = tlvs_module.decode_records(data, start + tlvs_module.INFO_SIZE, start + total)
        _check_protected_values(protected)
        start += total
        magic, total = tlvs_module.read_area_info(data, start)
    if magic != tlvs_module.MAGIC:
        raise ImageError(
            "the image has no TLV area",
            why=f"byte {start} holds 0x{magic:04x} instead of 0x{tlvs_module.MAGIC:04x}",
        )
    end = start + total
    tlvs = tlvs_module.decode_records(data, start + tlvs_module.INFO_SIZE, end)
    return Image(header, protected, tlvs, data, end)


def _check_protected_area(header: Header, magic: int, total: int) -> None:
    if magic != tlvs_module.PROTECTED_MAGIC:
        raise ImageError(
            "the protected TLV area is missing",
            why=f"the header promises {header.protected_size} bytes of it",
        )
    if total != header.protected_size:
        raise ImageError(
            "the size of the protected TLV area is wrong",
            why=f"the header says {header.protected_size} bytes, the area itself {total}",
        )


_VALUE_SIZES: Final[dict[int, int]] = {
    TlvType.SEC_CNT: 4,
    TlvType.DECOMP_SIZE: 4,
    TlvType.DECOMP_SHA: 32,
    TlvType.COMP_DEC_SIZE: 4,
    TlvType.UUID_VID: 16,
    TlvType.UUID_CID: 16,
}


def _check_protected_values(protected: tuple[Tlv, ...]) -> None:
    for tlv in protected:
        size = _VALUE_SIZES.get(tlv.type)
        if size is not None and len(tlv.value) != size:
            raise ImageError(
                f"TLV {tlvs_module.type_name(tlv.type)} has the wrong size",
                why=f"{len(tlv.value)} bytes instead of {size}",
            )
        if tlv.type == TlvType.DEPENDENCY:
            Dependency.decode(tlv.value)
        if tlv.type == tlvs_module.BOARD:
            try:
                tlv.value.decode()
            except UnicodeDecodeError as error:
                raise ImageError("the board name is not UTF-8", why=str(error)) from error
