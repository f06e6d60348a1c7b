"""Compressed images, as MCUboot has them: an LZMA2 stream as the body, for the secondary slot.

The bootloader unpacks one while it overwrites the primary slot, so such an image has two hashes:
its own, which the secondary slot shows, and that of the plain image inside, which the device shows
once it runs. The plain image is whole: its hash and signature travel in protected records.
Source: MCUboot docs/compression_format.md and imgtool; the boot side, boot/zephyr/decompression.c
and subsys/nrf_compress of the nRF Connect SDK, whose limits are the ones here.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from cryofw.image import tlv as tlvs_module
from cryofw.image.errors import ImageRejected
from cryofw.image.header import COMPRESSED, HEADER_SIZE, HeaderFlag
from cryofw.image.image import Image, parse_image
from cryofw.image.publickey import Algorithm
from cryofw.image.tlv import Tlv, TlvType, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_BODY: Final = 16 * 1024 * 1024
"""Bytes that are unpacked at most: more than the slot of any controller."""

_DICTIONARY_SIZE: Final = 128 * 1024
_LC, _LP, _PB = 3, 1, 2
_MOST_LC_AND_LP: Final = 4
_PRESET: Final = 9
_STREAM_HEAD: Final = 2
_SIGNATURE_TYPES: Final = {algorithm.signature_type for algorithm in Algorithm}

_CLAIMS: Final = (TlvType.DECOMP_SIZE, TlvType.DECOMP_SHA, TlvType.DECOMP_SIGNATURE)
RECORD_TYPES: Final = frozenset({*_CLAIMS, TlvType.COMP_DEC_SIZE})
"""Protected records of compressed images, which the plain image does not have."""


class Compression(StrEnum):
    """How the body is compressed; the filter for ARM Thumb code makes such code smaller."""

    LZMA2 = "lzma2"
    LZMA2_ARM_THUMB = "lzma2-arm-thumb"

    @property
    def flags(self) -> int:
        """What the header says."""
        thumb = self is Compression.LZMA2_ARM_THUMB
        return HeaderFlag.COMPRESSED_LZMA2 | (HeaderFlag.COMPRESSED_ARM_THUMB if thumb else 0)

    def is_taken_by(self, bootloader: Compression | None) -> bool:
        """Whether a bootloader that takes the other one takes this one: the filter is on top."""
        return bootloader in {self, Compression.LZMA2_ARM_THUMB}


def compression_of(image: Image) -> Compression | None:
    """How an image is compressed; None without a header flag.

    Raises:
        ImageRejected: flags and records do not fit together, or nothing here unpacks it.
    """
    flags = image.flags & COMPRESSED
    present = [tlv.type for tlv in image.protected if tlv.type in RECORD_TYPES]
    if not flags:
        if present:
            raise ImageRejected(
                f"the image has a record {type_name(present[0])} and is not compressed",
                why="its header has no compression flag",
            )
        return None
    kind = next((kind for kind in Compression if kind.flags == flags), None)
    if kind is None:
        names = ", ".join(HeaderFlag.names(flags))
        raise ImageRejected("the image is compressed in a way that is not supported", why=names)
    if image.flags & (HeaderFlag.ENCRYPTED_AES128 | HeaderFlag.ENCRYPTED_AES256):
        raise ImageRejected("images that are compressed and encrypted are not supported")
    if sorted(present) != sorted(_CLAIMS):
        raise ImageRejected(
            "the records of the compressed image are not as they must be",
            why=f"expected {', '.join(map(type_name, _CLAIMS))}, found "
            f"{', '.join(map(type_name, present)) or 'none'}",
        )
    return kind


def unpacked_size(image: Image) -> int:
    """Bytes of the plain body, as a compressed image claims; 0 without that record."""
    return int.from_bytes(_claim(image, TlvType.DECOMP_SIZE), "little")


def unpacked_hash(image: Image) -> bytes:
    """The hash of the plain image, as a compressed one claims; empty without that record."""
    return _claim(image, TlvType.DECOMP_SHA)


def _claim(image: Image, kind: TlvType) -> bytes:
    return next((tlv.value for tlv in image.protected if tlv.type == kind), b"")


def decompressed(image: Image, erased_value: int = 0xFF) -> Image:
    """The plain image, as the bootloader writes it into the primary slot; nothing is proven by it.

    Flags, sizes, hash and signature are those of the plain one, and what lies between header and
    body is erased flash. Memory is bounded by the size that it claims, and that by `LARGEST_BODY`.

    Raises:
        ImageRejected: not compressed, no stream that unpacks to the claimed size, or the header
            of that stream asks for more than bootloaders have.
    """
    kind = compression_of(image)
    if kind is None:
        raise ImageRejected("the image is not compressed")
    size = unpacked_size(image)
    if not 0 < size <= LARGEST_BODY:
        raise ImageRejected(
            "the image claims to unpack to an impossible size",
            why=f"{size} bytes, at most {LARGEST_BODY}",
        )
    body = _unpack(image.body, kind, size)
    kept = tuple(tlv for tlv in image.protected if tlv.type not in RECORD_TYPES)
    area = tlvs_module.encode_area(tlvs_module.PROTECTED_MAGIC, kept) if kept else b""
    header = replace(
        image.header, flags=image.flags & ~COMPRESSED, body_size=size, protected_size=len(area)
    )
    gap = bytes([erased_value]) * (image.header_size - HEADER_SIZE)
    tail = tlvs_module.encode_area(tlvs_module.MAGIC, _plain_records(image))
    return parse_image(b"".join((header.encode(), gap, body, area, tail)))


def _plain_records(image: Image) -> list[Tlv]:
    plain = {TlvType.SHA256: _claim(image, TlvType.DECOMP_SHA)}
    signature = _claim(image, TlvType.DECOMP_SIGNATURE)
    plain |= {TlvType(kind): signature for kind in _SIGNATURE_TYPES}
    return [Tlv(t.type, plain[TlvType(t.type)] if t.type in plain else t.value) for t in image.tlvs]


def compressed_body(body: bytes, kind: Compression) -> bytes:
    """The body of a compressed image, byte for byte as imgtool makes it."""
    import lzma

    stream = lzma.compress(body, format=lzma.FORMAT_RAW, filters=_filters(kind, _DICTIONARY_SIZE))
    head = bytes((_dictionary_code(_DICTIONARY_SIZE), (_PB * 5 + _LP) * 9 + _LC))
    return head + stream


def compression_records(plain_size: int, plain_hash: bytes, signature: bytes) -> Sequence[Tlv]:
    """The protected records that carry the plain image's size, hash and signature."""
    values = (plain_size.to_bytes(4, "little"), plain_hash, signature)
    return [Tlv(kind, value) for kind, value in zip(_CLAIMS, values, strict=True)]


def _filters(kind: Compression, dictionary_size: int) -> list[dict[str, Any]]:
    import lzma

    lzma2 = {
        "id": lzma.FILTER_LZMA2, "preset": _PRESET, "dict_size": dictionary_size,
        "lc": _LC, "lp": _LP, "pb": _PB,
    }  # fmt: skip
    thumb = [{"id": lzma.FILTER_ARMTHUMB}] if kind is Compression.LZMA2_ARM_THUMB else []
    return [*thumb, lzma2]


def _size_of_code(code: int) -> int:
    """The dictionary size that the first byte of the stream names (xz format, LZMA2)."""
    return (2 | (code & 1)) << (code // 2 + 11)


def _dictionary_code(size: int) -> int:
    return next(code for code in range(40) if size <= _size_of_code(code))


def _unpack(packed: bytes, kind: Compression, size: int) -> bytes:
    import lzma

    if len(packed) <= _STREAM_HEAD:
        raise ImageRejected("the compressed image has no stream", why=f"{len(packed)} bytes")
    code, properties = packed[0], packed[1]
    lc, lp = properties % 9, properties // 9 % 5
    if _size_of_code(min(code, 40)) > _DICTIONARY_SIZE or lc + lp > _MOST_LC_AND_LP:
        raise ImageRejected(
            "the compressed image asks for more memory than bootloaders have",
            why=f"dictionary code 0x{code:02x}, lc {lc}, lp {lp}; at most {_DICTIONARY_SIZE} "
            f"bytes, and {_MOST_LC_AND_LP} for lc and lp together",
        )
    filters = _filters(kind, max(4096, _size_of_code(code)))
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        body = decoder.decompress(packed[_STREAM_HEAD:], max_length=size + 1)
        if len(body) == size and not decoder.eof:
            body += decoder.decompress(b"", max_length=1)
    except (lzma.LZMAError, EOFError) as error:
        raise ImageRejected("the compressed image does not unpack", why=str(error)) from None
    if len(body) != size:
        found = "more" if len(body) > size else f"only {len(body)}"
        raise ImageRejected(
            "the compressed image does not have the size it claims",
            why=f"it claims {size} bytes, and unpacks to {found}",
        )
    if not decoder.eof or decoder.unused_data:
        raise ImageRejected(
            "the compressed image does not end with its stream",
            why=f"{len(decoder.unused_data)} bytes follow" if decoder.eof else "its end is missing",
        )
    return body
