"""The images behind a rollout: at hand, whole, and signed by a key that is trusted.

A way back may also be a foreign image that a person adopted: its file is the one they named. Of an
encrypted image, a host without the devices' key can only see that its file is the planned one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryofw.audit.register import ADOPTED
from cryofw.errors import CryofwError
from cryofw.image import Body, body_of, parse_image
from cryofw.image.verify import check_form
from cryofw.keys import HostDecryptionKey
from cryofw.release import ImageStore
from cryofw.rollout.lab_events import ImageStanding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryofw.audit.ledger import RolloutLedger
    from cryofw.image import PublicKey
    from cryofw.journal import Record, Storage


class ImageEvidence:
    """Verifies the release and every way back of each rollout, once each. A `Check`.

    Args:
        storage: the state directory.
        keys: the public keys that may have signed them.
    """

    def __init__(self, storage: Storage, keys: Sequence[PublicKey]) -> None:
        self._adopted: dict[str, str] = {}
        self._store = ImageStore(storage, keys, lambda: self._adopted)
        self._problems: dict[tuple[str, bool, str], str] = {}
        self._verified: set[str] = set()
        self._foreign: set[str] = set()
        self._locked: set[str] = set()
        self._storage = storage

    @property
    def locked(self) -> tuple[str, ...]:
        """Hashes of encrypted images that no key of this host opens: their signature is unknown."""
        return tuple(sorted(self._locked))

    @property
    def verified(self) -> int:
        """How many images verified so far."""
        return len(self._verified)

    @property
    def foreign(self) -> int:
        """How many ways back are adopted files that no trusted key vouches for."""
        return len(self._foreign)

    def problems(self, record: Record, rollout: RolloutLedger | None) -> Iterable[str]:
        """See `Check`."""
        if record.kind == ADOPTED and record.fields.get("image") == ImageStanding.FOREIGN:
            hashes = (str(record.fields.get(name, "")) for name in ("hash", "file_sha256"))
            image, file_sha256 = hashes
            self._adopted[image] = file_sha256
            return []
        if record.kind != "rollout-started" or rollout is None:
            return []
        release = str(record.fields.get("release", ""))
        images = {release: "the release"}
        files: dict[str, str] = {}
        if rollout.plan is not None:
            files[rollout.plan.release.hash] = rollout.plan.release.file_sha256
            for device in rollout.plan.devices.values():
                if device.last_good is not None:
                    images.setdefault(device.last_good.hash, f"the way back of {device.name}")
                    files.setdefault(device.last_good.hash, device.last_good.file_sha256)
        found = (
            (what, self._problem(image, image != release, files.get(image, "")))
            for image, what in images.items()
        )
        return [f"{what} cannot be proven: {problem}" for what, problem in found if problem]

    def _problem(self, image: str, is_way_back: bool, file_sha256: str) -> str:
        key = (image, is_way_back, file_sha256)
        if key not in self._problems:
            self._problems[key] = self._check(*key)
        return self._problems[key]

    def _check(self, image: str, is_way_back: bool, file_sha256: str) -> str:
        try:
            self._store.load(image)
            self._verified.add(image)
        except CryofwError as error:
            if is_way_back and self._is_adopted(image):
                self._foreign.add(image)
                return ""
            if self._is_locked(image, file_sha256):
                self._locked.add(image)
                return ""
            return str(error)
        return ""

    def _is_adopted(self, image: str) -> bool:
        try:
            self._store.load_way_back(image)
        except CryofwError:
            return False
        return True

    def _is_locked(self, image: str, file_sha256: str) -> bool:
        """Whether nothing is wrong with an image but that this host cannot open it."""
        try:
            if HostDecryptionKey().load() is not None:
                return False
            data = self._storage.read(f"images/{image}.bin")
            found = parse_image(data)
            check_form(found)
            is_encrypted = body_of(found) is Body.ENCRYPTED
        except CryofwError:
            return False
        is_planned = hashlib.sha256(data).hexdigest() == file_sha256
        return is_encrypted and is_planned and found.hash.hex() == image
