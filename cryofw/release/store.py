"""Verified images by hash: the release on trial and every last good one behind it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryofw.errors import VerificationFailed
from cryofw.image import ImageError, ImageRejected, decompressed, parse_image
from cryofw.release.firmware import Firmware, admit
from cryofw.release.recognition import RecognisedImage, describe_foreign, recognise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryofw.image import PublicKey
    from cryofw.journal import Storage


class ImageStore:
    """Images under `images/<hash>.bin` of a storage; verified going in and coming out.

    The hash is that of the file. Of a compressed image the plain one inside is kept as well: it is
    what a device shows that runs it, and the way back to it.

    Args:
        storage: where they lie.
        keys: the public keys that may have signed them.
        adopted: hash to the hex SHA-256 of the file, of each foreign image that a person adopted,
            by the journal; asked only for what no key verifies.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Sequence[PublicKey],
        adopted: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._storage = storage
        self._keys = tuple(keys)
        self._adopted = adopted
        self._verified: dict[str, bytes] = {}

    def add(self, data: bytes) -> Firmware:
        """Verify and keep an image.

        Raises:
            ImageRejected: it does not verify.
        """
        firmware = admit(data, self._keys)
        if firmware.compression:
            self._storage.write_atomic(_name(firmware.hash), decompressed(parse_image(data)).data)
        self._storage.write_atomic(_name(firmware.slot_hash), data)
        return firmware

    def load(self, image_hash: str) -> bytes:
        """The file of the image with this hex hash, verified again now.

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
        data, hint = self._storage.read(name), "restore the state directory from its backup"
        try:
            found = admit(data, self._keys).slot_hash
        except ImageRejected as error:
            keyring = f"{hint}; or was it the keyring that changed?"
            raise ImageRejected(f"{name}: {error.what}", why=error.why, hint=keyring) from error
        if found != image_hash:
            raise VerificationFailed(f"{name} holds another image than its name says", hint=hint)
        self._verified[image_hash] = data
        return data

    def adopt(self, image: RecognisedImage) -> None:
        """Keep an image that a device runs already, whoever signed it: a way back, no release."""
        self._storage.write_atomic(_name(image.firmware.hash), image.data)

    def load_way_back(self, image_hash: str) -> bytes:
        """An image that ran before: verified, or the very file that a person adopted for it.

        Raises:
            VerificationFailed: as `load`.
        """
        try:
            return self.load(image_hash)
        except VerificationFailed:
            data = self._adopted_file(image_hash)
            if data is None:
                raise
            return data

    def _adopted_file(self, image_hash: str) -> bytes | None:
        name, wanted = _name(image_hash), self._adopted().get(image_hash)
        if wanted is None or not self._storage.exists(name):
            return None
        data = self._storage.read(name)
        return data if hashlib.sha256(data).hexdigest() == wanted else None

    def known(self, hashes: Sequence[str]) -> dict[str, Firmware]:
        """Those of `hashes` that are at hand as a way back, described.

        One for which nobody vouches, because its key left the keyring, is not at hand.

        Raises:
            VerificationFailed: a file is damaged, or forged in the name of a key of ours.
        """
        found = {}
        for image_hash in hashes:
            if not image_hash or not self._storage.exists(_name(image_hash)):
                continue
            try:
                found[image_hash] = self._describe(image_hash)
            except VerificationFailed:
                if not self._is_a_strangers(image_hash):
                    raise
        return found

    def _is_a_strangers(self, image_hash: str) -> bool:
        """It is whole and what its name says; only the key behind it is none of ours."""
        if image_hash in self._adopted():
            return False  # it is not the file that a person named
        try:
            found = recognise(self._storage.read(_name(image_hash)), self._keys)
        except ImageError:
            return False
        return not found.is_verified and found.firmware.hash == image_hash

    def find(self, image_hash: str) -> Firmware | None:
        """An image as a way back, described; None if it is not here, or nobody vouches for it."""
        if not image_hash or not self._storage.exists(_name(image_hash)):
            return None
        try:
            return self._describe(image_hash)
        except VerificationFailed:
            return None

    def _describe(self, image_hash: str) -> Firmware:
        try:
            return admit(self.load(image_hash), self._keys)
        except VerificationFailed:
            data = self._adopted_file(image_hash)
            if data is None:
                raise
            return describe_foreign(data)


def _name(image_hash: str) -> str:
    return f"images/{image_hash}.bin"
