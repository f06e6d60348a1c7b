"""Which image a file holds that was flashed by hand, and who vouches for it.

A rollout takes only images that a key of ours signed. What runs in a lab already may be another's:
then its hash, which the device reports, tells that the file is the image, and nothing more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.image import (
    Body,
    ImageRejected,
    body_of,
    compression_of,
    decompressed,
    parse_image,
)
from cryofw.image.encryption import opened
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.keys import HostDecryptionKey
from cryofw.release.firmware import Firmware, admit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.image import Image, PublicKey


@dataclass(frozen=True)
class RecognisedImage:
    """What a file holds.

    Attributes:
        firmware: its `key_hash` is empty if no key of ours verified it.
        data: its bytes, without the padding of a programmer's file; unpacked, if it is compressed.
        names_key: hex hash of the key that it names; empty if it names none.
        remark: what a person should know about that key; empty if nothing.
    """

    firmware: Firmware
    data: bytes
    names_key: str
    remark: str = ""

    @property
    def is_verified(self) -> bool:
        """A key of ours signed it."""
        return bool(self.firmware.key_hash)


def recognise(data: bytes, keys: Sequence[PublicKey]) -> RecognisedImage:
    """Verify an image, or prove at least that it is whole: that its content has its hash.

    Args:
        data: the file as it was flashed, with or without padding.
        keys: that may have signed it; may be empty.

    Raises:
        ImageError: it is no image.
        ImageRejected: it is damaged, claims a key of ours without its signature, has no SHA-256,
            cannot be booted, or cannot be opened here.
    """
    image = parse_image(data)
    if image.padding:
        data = data[: image.size]  # the trailer of a programmer's file is not the image's
        image = parse_image(data)
    if compression_of(image) is not None:
        image = decompressed(image)  # what runs on a device is the plain image inside
        data = image.data
    named = image.key_hash.hex()
    if image.key_hash and image.key_hash in {key.key_hash for key in keys}:
        return RecognisedImage(admit(data, keys), data, named)
    return RecognisedImage(describe_foreign(data), data, named, _remark(image))


def describe_foreign(data: bytes) -> Firmware:
    """Describe an image for which no key of ours vouches; its content has its hash.

    Raises:
        ImageError, ImageRejected: as `recognise`.
    """
    image = parse_image(data)
    body = body_of(image)
    if body is Body.CLEAR:
        raise ImageRejected(
            "this is a plain image that is marked for encryption",
            why="it is for a programmer: a bootloader would decrypt it, and find no firmware",
            hint="give the encrypted file of the same firmware: it has the same hash",
        )
    plain = opened(image, HostDecryptionKey()) if body is Body.ENCRYPTED else image
    if not plain.hash or plain.hash != plain.digest:
        raise ImageRejected(
            "the image is damaged" if plain.hash else "the image has no SHA-256",
            why=f"its content has the hash {plain.digest.hex()}, it claims "
            f"{plain.hash.hex() or 'none'}",
        )
    if not image.bootable:
        raise ImageRejected("the image is marked as not bootable", hint="this is not what runs")
    return Firmware(
        hash=image.hash.hex(),
        file_sha256=hashlib.sha256(data).hexdigest(),
        version=str(image.version),
        security_counter=image.security_counter,
        size=len(data),
        board=image.board or "",
        key_hash="",
    )


def _remark(image: Image) -> str:
    if not image.key_hash:
        return "it is not signed: does its bootloader take anything?"
    published = PUBLISHED_KEYS.get(image.key_hash)
    if published is None:
        return ""
    return (
        f"it is signed with the published development key {published}: anybody can sign for this "
        "bootloader"
    )
