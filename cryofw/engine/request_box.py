"""Requests of people to a rollout that another process runs: abort, stop, approve, accept.

The journal has one writer, so a second process cannot write to it. It leaves a request in the
state directory; the process that runs the rollout takes it, journals it and obeys.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cryofw.errors import CryofwError
from cryofw.journal import StorageUnsafe
from cryofw.rollout import events as e
from cryofw.rollout import lab_events as lab
from cryofw.rollout import operator_events as oe

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.journal import Storage
    from cryofw.rollout import Event

_KINDS: dict[str, type[Event]] = {
    kind.kind: kind
    for kind in (
        e.AbortRequested,
        e.StopRequested,
        e.RollbackRequested,
        e.PauseRequested,
        e.StageApproved,
        e.QuarantineCleared,
        oe.DeviceAccepted,
        lab.DevicePinned,
        lab.DeviceExcluded,
        lab.DeviceUnpinned,
        lab.PolicyPinned,
        lab.PolicyUnpinned,
    )
}
_URGENT = (e.StopRequested.kind, e.AbortRequested.kind)
_LONGEST = 32 << 10
"""Bytes of a request; a record of the journal has to hold it."""


class RequestBox:
    """The requests waiting in one state directory for one rollout."""

    def __init__(self, storage: Storage, rollout: str) -> None:
        self._storage = storage
        self._prefix = f"requests/{rollout}/"

    def put(self, event: Event, nonce: str) -> str:
        """Leave a request; `nonce` keeps two requests of one kind apart. Its name is returned."""
        fields = asdict(event)
        order = "0" if event.kind in _URGENT else "1"
        name = f"{self._prefix}{order}-{event.kind}-{nonce}.json"
        self._storage.write_atomic(name, json.dumps(fields, sort_keys=True).encode())
        return name

    def waiting(self) -> list[tuple[str, Event]]:
        """The requests there are, urgent ones first, each with the name to `remove` it by.

        What cannot be read is removed: the person who asked sees that nothing happened and asks
        again, instead of a stop that is never found behind a broken file.
        """
        found: list[tuple[str, Event]] = []
        for name in self._storage.list(self._prefix):
            try:
                event = _parse(name.removeprefix(self._prefix), self._storage.read(name))
            except StorageUnsafe:  # a link to elsewhere
                event = None
            if event is None:
                self._storage.remove(name)
            else:
                found.append((name, event))
        return found

    def remove(self, name: str) -> None:
        """The request is in the journal now."""
        self._storage.remove(name)


class AdmittedRequests(RequestBox):
    """The requests that may be obeyed; others are removed, and the person who runs it is told.

    Args:
        admit: raises a CryofwError for a request that may not.
        on_refused: told about each of those.
    """

    def __init__(
        self,
        storage: Storage,
        rollout: str,
        admit: Callable[[Event], object],
        on_refused: Callable[[Event, CryofwError], None],
    ) -> None:
        super().__init__(storage, rollout)
        self._admit = admit
        self._on_refused = on_refused
        self._admitted: dict[str, Event] = {}

    def waiting(self) -> list[tuple[str, Event]]:
        """See `RequestBox`."""
        return [(name, event) for name, event in super().waiting() if self._may(name, event)]

    def _may(self, name: str, event: Event) -> bool:
        if self._admitted.get(name) != event:  # not by its name: the file may be another one now
            try:
                self._admit(event)
            except CryofwError as error:
                self._admitted.pop(name, None)
                self.remove(name)
                self._on_refused(event, error)
                return False
            self._admitted[name] = event
        return True


def _parse(name: str, data: bytes) -> Event | None:
    kind = name.partition("-")[2].rpartition("-")[0]
    event = _KINDS.get(kind)
    try:
        fields = json.loads(data) if len(data) <= _LONGEST else None
        if event is None or not isinstance(fields, dict):
            return None
        return event(**fields) if all(_is_sound(*field) for field in fields.items()) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _is_sound(name: str, value: object) -> bool:
    """Requests hold text, and what somebody signed."""
    if name == "proof":
        return isinstance(value, dict)
    if (name == "version" and type(value) is int) or (name == "control" and type(value) is bool):
        return True  # of a policy; of an acceptance
    if not isinstance(value, str):
        return False
    value.encode()  # raises ValueError for half a character: the journal could not hold it
    return True
