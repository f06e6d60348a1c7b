"""The images behind a rollout: at hand, whole, and signed by a key that is trusted.

A way back may also be a foreign image that a person adopted: its file is the one they named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.audit.register import ADOPTED
from cryofw.errors import CryofwError
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
        self._problems: dict[tuple[str, bool], str] = {}
        self._verified: set[str] = set()
        self._foreign: set[str] = set()

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
        images = {str(record.fields.get("release", "")): "the release"}
        if rollout.plan is not None:
            images.setdefault(rollout.plan.release.slot_hash, "the compressed file of the release")
            for device in rollout.plan.devices.values():
                if device.last_good is not None:
                    images.setdefault(device.last_good.hash, f"the way back of {device.name}")
        ways_back = {image for image, what in images.items() if what.startswith("the way back")}
        found = ((what, self._problem(i, i in ways_back)) for i, what in images.items())
        return [f"{what} cannot be proven: {problem}" for what, problem in found if problem]

    def _problem(self, image: str, is_way_back: bool) -> str:
        key = (image, is_way_back)
        if key not in self._problems:
            self._problems[key] = self._check(image, is_way_back)
        return self._problems[key]

    def _check(self, image: str, is_way_back: bool) -> str:
        try:
            self._store.load(image)
            self._verified.add(image)
        except CryofwError as error:
            if is_way_back and self._is_adopted(image):
                self._foreign.add(image)
                return ""
            return str(error)
        return ""

    def _is_adopted(self, image: str) -> bool:
        try:
            self._store.load_way_back(image)
        except CryofwError:
            return False
        return True
