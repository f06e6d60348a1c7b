"""Make an image: header and protected TLVs around a firmware, then the signature after it.

The two steps are apart so that a key may live anywhere: `UnsignedImage.to_sign` gives the bytes,
whoever holds the key signs them, and `attach` proves the signature before it becomes a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from cryofw.image import tlv as tlvs_module
from cryofw.image.errors import ImageError, ImageRejected
from cryofw.image.header import HEADER_SIZE, Header, HeaderFlag
from cryofw.image.publickey import Algorithm
from cryofw.image.tlv import Tlv, TlvType
from cryofw.image.trailer import pad_to_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.image.encryption import Seal
    from cryofw.image.options import ImageOptions
    from cryofw.image.payload import Payload
    from cryofw.image.publickey import PublicKey


@dataclass(frozen=True)
class UnsignedImage:
    """Header, body and protected TLVs, ready to be signed."""

    region: bytes = field(repr=False)
    options: ImageOptions

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the region: the image's hash (32 bytes)."""
        return sha256(self.region).digest()

    def to_sign(self, algorithm: Algorithm) -> bytes:
        """What a signer of this algorithm signs.

        ECDSA and RSA-PSS hash the region themselves (SHA-256); Ed25519 signs its 32-byte hash,
        which is MCUboot's default.
        """
        return self.hash if algorithm is Algorithm.ED25519 else self.region


def build_image(payload: Payload, options: ImageOptions) -> UnsignedImage:
    """Put header and protected TLVs around a firmware.

    Raises:
        ImageError: no firmware, no room for the header, or too large for the slot.
    """
    body_start = 0 if options.pad_header else options.header_size
    firmware = _whole_blocks(payload.data, options)
    if len(payload.data) <= body_start:
        raise ImageError(
            "there is no firmware in the file", why=f"{len(firmware)} bytes, header included"
        )
    if any(firmware[:body_start]):
        raise ImageError(
            "the firmware leaves no room for the image header",
            why=f"its first {body_start} bytes are not zero",
            hint="link it with that much room, or let the header be put in front (--pad-header)",
        )
    body = memoryview(firmware)[body_start:]
    return _unsigned(body, options.protected_tlvs(), _flags(options), options)


def compress(unsigned: UnsignedImage, public_key: PublicKey, signature: bytes) -> UnsignedImage:
    """Make the compressed image of a plain one, which its `options` ask for; it is signed too.

    Args:
        unsigned: the plain image, of `build_image`.
        public_key, signature: over it: the bootloader puts that signature into the primary slot.

    Raises:
        ImageRejected: the signature is not of this key over this image.
        ImageError: it would not be smaller, or no compression is asked for.
    """
    from cryofw.image.compression import compressed_body, compression_records

    options = unsigned.options
    if options.compression is None:
        raise ImageError("the options of this image ask for no compression")
    public_key.verify_digest(signature, unsigned.hash)
    header = Header.decode(unsigned.region)
    start = header.header_size
    plain = unsigned.region[start : start + header.body_size]
    body = memoryview(compressed_body(plain, options.compression))
    records = compression_records(len(plain), unsigned.hash, signature)
    needed = len(body) + sum(len(record.value) for record in records)
    if needed >= len(plain):
        raise ImageError(
            "compression does not make the image smaller",
            why=f"{len(plain)} bytes become {needed}",
            hint="sign it without --compress",
        )
    flags = _flags(options) | options.compression.flags
    return _unsigned(body, options.protected_tlvs(records), flags, options)


def _unsigned(
    body: memoryview, protected: Sequence[Tlv], flags: int, options: ImageOptions
) -> UnsignedImage:
    area = tlvs_module.encode_area(tlvs_module.PROTECTED_MAGIC, protected) if protected else b""
    header = Header(
        load_addr=options.rom_fixed or options.load_addr,
        header_size=options.header_size,
        protected_size=len(area),
        body_size=len(body),
        flags=flags,
        version=options.version,
    ).encode()
    # A bootloader that unpacks hashes the plain image with erased flash there.
    erased = options.pad_header or options.compression is not None
    gap = bytes([options.erased_value if erased else 0]) * (options.header_size - HEADER_SIZE)
    region = b"".join((header, gap, body, area))
    _check_fits(len(region), options)
    return UnsignedImage(region, options)


def attach(
    unsigned: UnsignedImage,
    public_key: PublicKey,
    signature: bytes,
    seal: Seal | None = None,
    *,
    clear: bool = False,
) -> bytes:
    """The finished file: the region, hash, key hash and signature, and padding if asked for.

    Args:
        unsigned: of `build_image`.
        public_key, signature: over the plain image, encrypted or not.
        seal: of an encrypted image: its content key, for this one image alone.
        clear: leave the body plain all the same, for the primary slot.

    Raises:
        ImageRejected: the signature is not of this key over this image, or the key is one of
            MCUboot's published development keys.
        ImageError: too large for the slot, or a seal where none belongs.
    """
    if (seal is None) != (unsigned.options.encrypt is None):
        raise ImageError("an image that is built for encryption, and only such a one, has a seal")
    if public_key.published_name:
        raise ImageRejected(
            "the key is a published development key of MCUboot",
            why=f"anyone can sign with {public_key.published_name}",
            hint="make your own with `cryofw keys generate`",
        )
    public_key.verify_digest(signature, unsigned.hash)
    records = [
        Tlv(TlvType.SHA256, unsigned.hash),
        Tlv(TlvType.KEYHASH, public_key.key_hash),
        Tlv(public_key.algorithm.signature_type, signature),
    ]
    region = unsigned.region
    if seal is not None:
        records.append(seal.tlv)
        region = region if clear else _encrypted(region, seal, unsigned.options)
    area = tlvs_module.encode_area(tlvs_module.MAGIC, records)
    options = unsigned.options
    size = len(unsigned.region) + len(area)
    _check_fits(size, options)
    padding = b""
    if options.padded and options.slot_size is not None:
        padding = pad_to_slot(
            options.slot_size - size,
            widest=options.trailer.widest,
            erased=options.erased_value,
            confirm=options.confirm,
        )
    return b"".join((region, area, padding))


def _whole_blocks(firmware: bytes, options: ImageOptions) -> bytes:
    """With encryption, header and body fill whole AES blocks, as imgtool has it."""
    if options.encrypt is None:
        return firmware
    from cryofw.image.encryption import BLOCK_SIZE

    size = len(firmware) + (options.header_size if options.pad_header else 0)
    return firmware + bytes(-size % BLOCK_SIZE)


def _encrypted(region: bytes, seal: Seal, options: ImageOptions) -> bytes:
    from cryofw.image.encryption import apply_keystream

    start = options.header_size
    end = len(region) - Header.decode(region).protected_size
    body = apply_keystream(seal.content_key, region[start:end])
    return b"".join((region[:start], body, region[end:]))


def _flags(options: ImageOptions) -> int:
    flags = options.encrypt.flag if options.encrypt is not None else 0
    if options.load_addr:
        return flags | HeaderFlag.RAM_LOAD
    return flags | HeaderFlag.ROM_FIXED if options.rom_fixed else flags


def _check_fits(size: int, options: ImageOptions) -> None:
    slot_size, trailer = options.slot_size, options.trailer_size
    if slot_size is not None and size + trailer > slot_size:
        raise ImageError(
            "the image does not fit its slot",
            why=f"{size} bytes and a trailer of {trailer} are {size + trailer - slot_size} more "
            f"than the slot's {slot_size}",
        )
