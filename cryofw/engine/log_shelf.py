"""The last words of devices that failed: files beside the journal, named by their digest.

A record says how many lines there are and their SHA-256, and the file is on disk before the record
is. What devices print may hold anything: it is kept as printable text, so that neither `cat` nor
`audit show` lets it steer a terminal.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryofw.audit.device_words import log_name
from cryofw.rollout import events as e
from cryofw.rollout import recovery_events as rec
from cryofw.rollout.story import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryofw.device import DeviceLogLine
    from cryofw.journal import Storage
    from cryofw.rollout import Step

_FAILURES = (
    e.DeviceStuck,
    e.DeviceUnreachable,
    e.DeviceReverted,
    e.DeviceRolledBack,
    e.UploadFailed,
    e.ConfirmRefused,
    rec.RecoveryFailed,
)


class LogShelf:
    """Keeps the log of a device when a step says that something failed.

    Args:
        storage: the state directory.
        lines: the last lines of a device, by its name.
    """

    def __init__(self, storage: Storage, lines: Callable[[str], Sequence[DeviceLogLine]]) -> None:
        self._storage = storage
        self._lines = lines

    def attach(self, step: Step) -> dict[str, object]:
        """What the record of a step says of the log that was kept for it; nothing for most."""
        if not isinstance(step, _FAILURES):
            return {}
        if isinstance(step, e.DeviceUnreachable) and not step.sent:
            return {}  # it was not there from the beginning
        lines = self._lines(step.device)
        if not lines:
            return {}
        text = "".join(f"{line.at:%Y-%m-%dT%H:%M:%S}Z  {printable(line.text)}\n" for line in lines)
        data = text.encode(errors="replace")
        digest = hashlib.sha256(data).hexdigest()
        name = log_name(digest)
        if not self._storage.exists(name):
            self._storage.write_atomic(name, data)
        return {"log": {"lines": len(lines), "sha256": digest}}
