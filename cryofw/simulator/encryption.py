"""How a bootloader decrypts: MCUboot's boot side, written from its source and not from our signer.

An encrypted image lies in the secondary slot; on its way into the primary one its body is
decrypted, and on the way back encrypted again with the same key. Between the two a power cut may
come, so both keys are noted in the trailer before anything moves. Source: MCUboot
boot/bootutil/src/encrypted.c (the record), loader.c (boot_copy_region), bootutil_misc.c (the
trailer).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cryofw.simulator.slot_image import HEADER_SIZE, SlotError, parse_header, read_tlvs

if TYPE_CHECKING:
    from cryofw.simulator.flash import FlashArea

_FLAG_AES128, _FLAG_AES256 = 0x04, 0x08
_ENC_RSA2048, _ENC_EC256, _ENC_X25519, _ENC_X25519_SHA512 = 0x30, 0x32, 0x33, 0x34
_INFO: Final = b"MCUBoot_ECIES_v1"
_BLOCK: Final = 16
_NOTE: Final = struct.Struct("<32sII")
NOTE_SIZE: Final = _NOTE.size
_NO_NOTE: Final = b"\xff" * NOTE_SIZE


@dataclass(frozen=True)
class BodyCipher:
    """The key of one image and where its body lies in the slot, from byte to byte."""

    key: bytes
    start: int
    end: int

    def apply(self, offset: int, data: bytes) -> bytes:
        """Encrypt or decrypt what lies at `offset` of the slot; header and TLVs stay."""
        first, last = max(offset, self.start), min(offset + len(data), self.end)
        if first >= last:
            return data
        block, skip = divmod(first - self.start, _BLOCK)
        cipher = Cipher(algorithms.AES(self.key), modes.CTR(block.to_bytes(_BLOCK))).encryptor()
        cipher.update(bytes(skip))
        body = cipher.update(data[first - offset : last - offset])
        return data[: first - offset] + body + data[last - offset :]

    def note(self) -> bytes:
        """The cipher as it is noted in the trailer."""
        return _NOTE.pack(self.key.ljust(32, b"\xff"), self.start, self.end)


def read_note(note: bytes) -> BodyCipher | None:
    """Return the cipher of a note in the trailer; None for an image without encryption."""
    if note == _NO_NOTE:
        return None
    key, start, end = _NOTE.unpack(note)
    size = 16 if key[16:] == b"\xff" * 16 else 32
    return BodyCipher(key[:size], start, end)


def write_note(cipher: BodyCipher | None) -> bytes:
    """Return the note of a cipher, erased flash for none."""
    return cipher.note() if cipher is not None else _NO_NOTE


def is_encrypted(area: FlashArea) -> bool:
    """Whether the header in a slot has an encryption flag."""
    header = parse_header(area.read(0, HEADER_SIZE))
    return not isinstance(header, SlotError) and bool(header.flags & (_FLAG_AES128 | _FLAG_AES256))


def body_cipher(area: FlashArea, private_pem: str) -> BodyCipher | None:
    """Unwrap the content key of the image in a slot; None when this bootloader cannot."""
    header = parse_header(area.read(0, HEADER_SIZE))
    if isinstance(header, SlotError) or not private_pem:
        return None
    size = 32 if header.flags & _FLAG_AES256 else 16
    for kind, value in read_tlvs(area, header):
        key = _unwrapped(private_pem, kind, value, size)
        if key is not None:
            return BodyCipher(key, header.header_size, header.header_size + header.image_size)
    return None


@lru_cache(maxsize=256)
def _unwrapped(private_pem: str, kind: int, value: bytes, size: int) -> bytes | None:
    private = load_pem_private_key(private_pem.encode(), None)
    try:
        if kind == _ENC_RSA2048 and isinstance(private, rsa.RSAPrivateKey):
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
            key = private.decrypt(value, oaep)
            return key if len(key) == size else None
        if kind == _ENC_EC256 and isinstance(private, ec.EllipticCurvePrivateKey):
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), value[:65])
            return _opened(private.exchange(ec.ECDH(), point), value[65:], size, "sha256")
        if kind in {_ENC_X25519, _ENC_X25519_SHA512} and isinstance(
            private, x25519.X25519PrivateKey
        ):
            shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(value[:32]))
            digest = "sha256" if kind == _ENC_X25519 else "sha512"
            return _opened(shared, value[32:], size, digest)
    except ValueError:
        return None
    return None


def _opened(shared: bytes, rest: bytes, size: int, digest: str) -> bytes | None:
    """The tag is checked first, then the key behind it is decrypted (boot_decrypt_key)."""
    width = hashlib.new(digest).digest_size
    if len(rest) != width + size:
        return None
    material = _hkdf(shared, size + width, digest)
    tag, wrapped = rest[:width], rest[width:]
    if not hmac.compare_digest(tag, hmac.digest(material[size:], wrapped, digest)):
        return None
    return BodyCipher(material[:size], 0, size).apply(0, wrapped)


def _hkdf(shared: bytes, length: int, digest: str) -> bytes:
    """RFC 5869, with a salt of zeros."""
    width = hashlib.new(digest).digest_size
    extracted = hmac.digest(bytes(width), shared, digest)
    material, last, counter = b"", b"", 0
    while len(material) < length:
        counter += 1
        last = hmac.digest(extracted, last + _INFO + bytes([counter]), digest)
        material += last
    return material[:length]
