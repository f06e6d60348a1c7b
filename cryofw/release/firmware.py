"""The record of one firmware: what was verified, by which key, under which hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.image import Body, ImageRejected, verify_image
from cryofw.keys import HostDecryptionKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.image import PublicKey


@dataclass(frozen=True, slots=True)
class Firmware:
    """A signed image that was verified, by the hash that a device reports for it.

    Attributes:
        hash: hex of the image's SHA-256 TLV; of a compressed image, that of the plain one inside:
            what a device reports that runs it.
        file_sha256: hex digest of the whole file.
        version: MCUboot version `a.b.c+d`.
        security_counter: None if the image carries none.
        size: bytes of the file as uploaded.
        board: board it is built for; empty if it does not say.
        key_hash: hex SHA-256 of the public key that verified it; empty for an adopted image, of
            which only the hash was proven (see `recognise`).
        uploaded_hash: of a compressed image, its own: what the other slot shows until the boot;
            empty if it is the same.
        compression: how it is compressed; empty if it is not.
        unpacked_size: bytes of the plain image inside; 0 if it is not compressed.
    """

    hash: str
    file_sha256: str
    version: str
    security_counter: int | None
    size: int
    board: str
    key_hash: str
    uploaded_hash: str = ""
    compression: str = ""
    unpacked_size: int = 0

    @property
    def slot_hash(self) -> str:
        """What the slot shows that it was uploaded to, until the device boots it."""
        return self.uploaded_hash or self.hash


def admit(data: bytes, keys: Sequence[PublicKey]) -> Firmware:
    """Verify an image for a rollout and describe it.

    An encrypted one is opened with this host's copy of the devices' key (`HostDecryptionKey`).

    Raises:
        ImageRejected: it does not verify, or it is padded: a padded file carries the trailer
            that decides about test and confirm, and that decision is the rollout's.
        KeyFileError, KeyRefused: the devices' key is needed and cannot be used.
    """
    verified = verify_image(data, keys, opener=HostDecryptionKey())
    image = verified.image
    if verified.body is Body.CLEAR:
        raise ImageRejected(
            "a plain image that is marked for encryption must not be rolled out",
            why="the bootloader would decrypt it, and find no firmware",
            hint="sign it without --clear; that is for a programmer",
        )
    if verified.padded or verified.confirmed:
        raise ImageRejected(
            "a padded image must not be rolled out",
            why="its trailer would mark itself for the next boot",
            hint="sign it without --pad and --confirm",
        )
    if not image.bootable:
        raise ImageRejected("the image is marked as not bootable", hint="sign it without that flag")
    plain = verified.plain
    return Firmware(
        hash=verified.running_hash.hex(),
        file_sha256=hashlib.sha256(data).hexdigest(),
        version=str(image.version),
        security_counter=image.security_counter,
        size=len(data),
        board=image.board or "",
        key_hash=verified.key.key_hash.hex(),
        uploaded_hash=image.hash.hex() if plain else "",
        compression=verified.compression or "",
        unpacked_size=len(plain.data) if plain else 0,
    )
