"""Encrypted images, as MCUboot has them: AES-CTR over the body, its key wrapped in one record.

Only the body is encrypted; header and TLVs are plain. Hash and signature are made before, over the
plain image, so they name the same firmware whether a file is encrypted or not, and so does the
hash that a device reports. The counter of AES-CTR starts at zero, for each image has a content key
of its own. Source: MCUboot, docs/encrypted_images.md and boot/bootutil/src/encrypted.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from cryofw.image.errors import ImageError, ImageRejected
from cryofw.image.header import HeaderFlag
from cryofw.image.tlv import Tlv, TlvType, is_encryption_type, type_name

if TYPE_CHECKING:
    from cryofw.image.image import Image

BLOCK_SIZE: Final = 16


class AesBits(IntEnum):
    """The length of a content key."""

    AES_128 = 128
    AES_256 = 256

    @property
    def size(self) -> int:
        """Bytes of the key."""
        return self // 8

    @property
    def flag(self) -> HeaderFlag:
        """What the header says."""
        short = self is AesBits.AES_128
        return HeaderFlag.ENCRYPTED_AES128 if short else HeaderFlag.ENCRYPTED_AES256


class KeyWrap(StrEnum):
    """How the content key is encrypted for the devices."""

    ECIES_P256 = "ecies-p256"
    ECIES_X25519 = "ecies-x25519"
    ECIES_X25519_SHA512 = "ecies-x25519-sha512"
    RSA_OAEP = "rsa-oaep"

    @property
    def tlv_type(self) -> TlvType:
        """The record that holds it."""
        return _WRAPS[self][0]

    def size(self, bits: AesBits) -> int:
        """Bytes of that record: public key, tag and wrapped key, or one RSA block."""
        overhead = _WRAPS[self][1]
        return overhead if self is KeyWrap.RSA_OAEP else overhead + bits.size


_WRAPS: Final = {
    KeyWrap.ECIES_P256: (TlvType.ENC_EC256, 65 + 32),
    KeyWrap.ECIES_X25519: (TlvType.ENC_X25519, 32 + 32),
    KeyWrap.ECIES_X25519_SHA512: (TlvType.ENC_X25519_SHA512, 32 + 64),
    KeyWrap.RSA_OAEP: (TlvType.ENC_RSA2048, 256),
}


class Body(Enum):
    """What the body of a file is.

    A CLEAR one is plain, but marked for encryption: it belongs into the primary slot, by a
    programmer, and a bootloader would "decrypt" it to rubbish in the other one.
    """

    PLAIN = "plain"
    ENCRYPTED = "encrypted"
    CLEAR = "clear"


@dataclass(frozen=True)
class Seal:
    """The content key of one image, and the record that carries it to the devices."""

    content_key: bytes = field(repr=False)
    tlv: Tlv


class ContentKeyOpener(Protocol):
    """A private key of devices: it opens the record of an encrypted image."""

    def content_key(self, wrap: KeyWrap, wrapped: bytes) -> bytes:
        """Return the content key.

        Raises:
            ImageRejected: it was wrapped for another key, or changed on the way.
        """


def encryption_of(image: Image) -> tuple[AesBits, KeyWrap] | None:
    """How an image is encrypted, or would be in the other slot; None without the header flag.

    Raises:
        ImageRejected: flag and records do not fit together.
    """
    flagged = [bits for bits in AesBits if image.flags & bits.flag]
    records = [tlv for tlv in image.tlvs if is_encryption_type(tlv.type)]
    if not flagged:
        if records:
            raise ImageRejected(
                f"the image has a record {type_name(records[0].type)} and is not encrypted",
                why="its header has no encryption flag",
            )
        return None
    if len(flagged) > 1:
        raise ImageRejected("the image is encrypted with two lengths of key at once")
    if len(records) != 1:
        raise ImageRejected(
            "the image is encrypted, but not with one key", why=f"{len(records)} records with keys"
        )
    wrap = next((wrap for wrap in KeyWrap if wrap.tlv_type == records[0].type), None)
    if wrap is None:
        raise ImageRejected(
            f"a content key in {type_name(records[0].type)} is not supported",
            why=f"known: {', '.join(wrap.tlv_type.name for wrap in KeyWrap)}",
        )
    size = wrap.size(flagged[0])
    if len(records[0].value) != size:
        raise ImageRejected(
            f"TLV {type_name(records[0].type)} has the wrong size",
            why=f"{len(records[0].value)} bytes instead of {size} for AES-{flagged[0]}",
        )
    return flagged[0], wrap


def body_of(image: Image) -> Body:
    """What the body is: a plain one has the hash that the image claims.

    Raises:
        ImageRejected: as `encryption_of`.
    """
    if encryption_of(image) is None:
        return Body.PLAIN
    return Body.CLEAR if image.hash == image.digest else Body.ENCRYPTED


def opened(image: Image, opener: ContentKeyOpener | None) -> Image:
    """As `decrypted`, where there may be no key.

    Raises:
        ImageRejected: there is none, or as `decrypted`.
    """
    if opener is None:
        raise ImageRejected(
            "the image is encrypted, and nothing here can open it",
            why="its signature covers the plain firmware",
            hint="give the devices' private key: --decryption-key FILE or CRYOFW_DECRYPTION_KEY",
        )
    return decrypted(image, opener)


def decrypted(image: Image, opener: ContentKeyOpener) -> Image:
    """The same image with a plain body, as the bootloader puts it into the primary slot.

    Header and records stay; the result is what `--clear` makes. Nothing is proven by it.

    Raises:
        ImageRejected: it is not encrypted, or not for this key.
    """
    encryption = encryption_of(image)
    if encryption is None:
        raise ImageRejected("the image is not encrypted")
    bits, wrap = encryption
    record = next(tlv for tlv in image.tlvs if tlv.type == wrap.tlv_type)
    content_key = opener.content_key(wrap, record.value)
    if len(content_key) != bits.size:
        raise ImageRejected(
            "the content key has the wrong length", why=f"{len(content_key)} bytes for AES-{bits}"
        )
    start, end = image.header_size, image.header_size + image.header.body_size
    body = apply_keystream(content_key, image.data[start:end])
    return replace(image, data=b"".join((image.data[:start], body, image.data[end:])))


def apply_keystream(content_key: bytes, body: bytes) -> bytes:
    """Encrypt a body, or decrypt it: AES-CTR is both.

    Raises:
        ImageError: no AES key of 16 or 32 bytes.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(content_key) not in {bits.size for bits in AesBits}:
        raise ImageError("a content key has 16 or 32 bytes", why=f"{len(content_key)} given")
    cipher = Cipher(algorithms.AES(content_key), modes.CTR(bytes(BLOCK_SIZE))).encryptor()
    return cipher.update(body) + cipher.finalize()
