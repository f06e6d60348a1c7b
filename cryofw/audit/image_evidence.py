"""The images behind a rollout: at hand, whole, and signed by a key that is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import CryofwError
from cryofw.release import ImageStore

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
        self._store = ImageStore(storage, keys)
        self._problems: dict[str, str] = {}

    @property
    def verified(self) -> int:
        """How many images verified so far."""
        return sum(not problem for problem in self._problems.values())

    def problems(self, record: Record, rollout: RolloutLedger | None) -> Iterable[str]:
        """See `Check`."""
        if record.kind != "rollout-started" or rollout is None:
            return []
        images = {str(record.fields.get("release", "")): "the release"}
        if rollout.plan is not None:
            for device in rollout.plan.devices.values():
                if device.last_good is not None:
                    images.setdefault(device.last_good.hash, f"the way back of {device.name}")
        found = ((what, self._problem(image)) for image, what in images.items())
        return [f"{what} cannot be proven: {problem}" for what, problem in found if problem]

    def _problem(self, image: str) -> str:
        if image not in self._problems:
            try:
                self._store.load(image)
                self._problems[image] = ""
            except CryofwError as error:
                self._problems[image] = str(error)
        return self._problems[image]
