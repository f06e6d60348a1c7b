"""One person's host: its disks, and the process that runs on it now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.engine.home import Home
from cryofw.engine.request_box import RequestBox
from cryofw.journal import JOURNAL_NAME, MemoryDisk, MemoryStorage
from cryofw.release import ImageStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.gameday.host import Host
    from cryofw.image import PublicKey
    from cryofw.release import Firmware
    from cryofw.rollout import Event

_LAB_FOLDER = "sim/"


class Operator:
    """A person who rolls out one image from a state directory of their own.

    Args:
        name: as whom they act.
        images: the factory image, and the one they roll out.
        keys: what their cryofw trusts.

    Attributes:
        disk: the state directory.
        host: the process that runs now; None between two visits.
        back_after_s: how long they need to come back to a dead host.
        clock_wrong_by_s: how wrong the clock of their host is.

    Raises:
        ImageRejected: an image does not verify.
    """

    def __init__(self, name: str, images: Sequence[bytes], keys: Sequence[PublicKey]) -> None:
        self.name = name
        self.disk = MemoryDisk()
        self.keys = list(keys)
        store = ImageStore(MemoryStorage(self.disk), keys)
        self.images: list[Firmware] = [store.add(image) for image in images]
        self.host: Host | None = None
        self.back_after_s = 60.0
        self.clock_wrong_by_s = 0.0
        self._elsewhere = MemoryDisk()
        self._backup: Mapping[str, bytes] = dict(self.disk.entries)
        self._misplaced: Mapping[str, bytes] | None = None
        self._good: dict[str, bytes] = {}

    @property
    def release(self) -> Firmware:
        """What they roll out."""
        return self.images[-1]

    @property
    def journal(self) -> bytes:
        """The journal as it lies on the disk."""
        return self.disk.entries.get(JOURNAL_NAME, b"")

    @property
    def right_disk(self) -> bool:
        """The state directory is the one that the rollout wrote, and no backup."""
        return self._misplaced is None

    def home(self, host: Host) -> Home:
        """The state directory as a process of theirs sees it."""
        return Home(Path("nowhere"), host.storage, host=MemoryStorage(self._elsewhere))

    def leave_request(self, event: Event) -> None:
        """Ask something of the running rollout, as a second terminal does; nothing if none runs."""
        if self.host is not None:
            storage = MemoryStorage(self.disk)
            summary = Home(Path("nowhere"), storage).history().open_rollout
            if summary is not None:
                RequestBox(storage, summary.rollout).put(event, "00")

    def restore_backup(self) -> None:
        """Put the state directory back as it was at first; the simulated lab in it stays."""
        if self._misplaced is None:
            self._misplaced = dict(self.disk.entries)
            self._replace(self._backup)

    def spoil(self, image: Firmware) -> None:
        """Change a byte of an image in the store; the good one is kept elsewhere."""
        name = f"images/{image.slot_hash}.bin"
        data = self.disk.entries[name]
        self._good.setdefault(name, data)
        self.disk.entries[name] = data[:-1] + bytes([data[-1] ^ 1])

    def make_room(self) -> None:
        """The disk takes writes again."""
        self.disk.full = False

    def put_right(self) -> None:
        """Put back what a backup replaced, and images that were spoiled."""
        self._find_the_right_disk()
        self.disk.entries.update(self._good)
        self._good.clear()

    def _find_the_right_disk(self) -> None:
        if self._misplaced is not None:
            self._replace(self._misplaced)
            self._misplaced = None

    def _replace(self, entries: Mapping[str, bytes]) -> None:
        now = self.disk.entries
        lab = {name: data for name, data in now.items() if name.startswith(_LAB_FOLDER)}
        self.disk.entries = {**entries, **lab}
        self.disk.locks.clear()
