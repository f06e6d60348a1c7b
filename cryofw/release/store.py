"""Verified images by hash: the release on trial and every last good one behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import VerificationFailed
from cryofw.release.firmware import Firmware, admit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.image import PublicKey
    from cryofw.journal import Storage


class ImageStore:
    """Images under `images/<hash>.bin` of a storage; verified going in and coming out.

    Args:
        storage: where they lie.
        keys: the public keys that may have signed them.
    """

    def __init__(self, storage: Storage, keys: Sequence[PublicKey]) -> None:
        self._storage = storage
        self._keys = tuple(keys)
        self._verified: dict[str, bytes] = {}

    def add(self, data: bytes) -> Firmware:
        """Verify and keep an image.

        Raises:
            ImageRejected: it does not verify.
        """
        firmware = admit(data, self._keys)
        self._storage.write_atomic(_name(firmware.hash), data)
        return firmware

    def load(self, image_hash: str) -> bytes:
        """The image with this hex hash, verified again now.

        Raises:
            VerificationFailed: it is not here, or no longer what it was.
        """
        if image_hash in self._verified:
            return self._verified[image_hash]
        name = _name(image_hash)
        if not self._storage.exists(name):
            raise VerificationFailed(
                f"the image {image_hash[:12]} is not in the store",
                why=f"{name} does not exist in the state directory",
                hint="give its file again with --last-good FILE",
            )
        data = self._storage.read(name)
        if admit(data, self._keys).hash != image_hash:
            raise VerificationFailed(
                f"{name} holds another image than its name says",
                hint="restore the state directory from its backup",
            )
        self._verified[image_hash] = data
        return data

    def known(self, hashes: Sequence[str]) -> dict[str, Firmware]:
        """Those of `hashes` that are at hand and verify, described."""
        return {
            image_hash: admit(self.load(image_hash), self._keys)
            for image_hash in hashes
            if image_hash and self._storage.exists(_name(image_hash))
        }


def _name(image_hash: str) -> str:
    return f"images/{image_hash}.bin"
