"""A journal has one home: this host remembers, for each device, the journal that last drove it.

A state directory can be copied; a host's memory of it is elsewhere, so a copy that was left behind,
an older backup or an empty directory shows before anything is sent. A simulated device's memory
lies beside its flash: the lab and its journal travel together.

    devices/KEY          the origin of the journal that drove the device
    journals/KEY         how far that journal was: origin, size, root
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryofw.engine.site import SCHEME
from cryofw.errors import BadInput, CryofwError, Refused
from cryofw.journal import TreeHead
from cryofw.journal.chain import extends_chain, retired_journals
from cryofw.transport import port_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryofw.journal import Journal, Record, Storage
    from cryofw.journal.verification import LoadedJournal
    from cryofw.rollout import Connection

SIMULATED_FOLDER = "sim/homes/"
REHOMED = "journal-rehomed"
"""Kind of the record by which a person says that a journal is the right one all the same."""


_ABOUT = "about.txt"


class ForeignJournal(Refused):
    """A device was driven from another journal, or from a later state of this one."""


class Driven(Protocol):
    """What tells a device from all others: its hardware id, or else its port."""

    @property
    def name(self) -> str:
        """What fleet.yaml calls it."""

    @property
    def hw(self) -> str:
        """Its hardware id; empty if it has none."""

    @property
    def connection(self) -> Connection:
        """How it is reached."""


@dataclass(frozen=True)
class DrivenDevice:
    """A device that no plan has yet."""

    name: str
    hw: str
    connection: Connection


class JournalHome:
    """What this host remembers of the journals behind some devices.

    Args:
        state: the state directory, for simulated devices.
        host: gives the host's own directory, for all others; called only if there are any.
        devices: those that will be driven.
    """

    def __init__(
        self, state: Storage, host: Callable[[], Storage], devices: Iterable[Driven]
    ) -> None:
        self._state = state
        self._host = host
        self._devices = tuple(devices)
        self._bound = False
        self._known_places: list[tuple[Storage, str]] | None = None

    def require(self, journal: Journal) -> None:
        """See that the journal extends every one that drove these devices.

        Raises:
            ForeignJournal: it does not; nothing was sent.
            Refused: the host's memory cannot be read.
        """
        self.require_driver(journal)
        if any(not folder for _, folder in self._places()) and not self._host().exists(_ABOUT):
            self._introduce()

    def require_driver(self, journal: Journal | LoadedJournal) -> None:
        """As `require`, where nothing will be driven now: nothing is written either.

        Raises:
            ForeignJournal: the journal does not extend every one that drove these devices.
            Refused: the host's memory cannot be read.
        """
        foreign: dict[str, TreeHead] = {}
        homes: dict[TreeHead, bool] = {}  # most devices were driven by one journal
        for device in self._devices:
            head = self.remembered(device)
            if head is None:
                continue
            if head not in homes:
                homes[head] = self._is_home(journal, head)
            if not homes[head]:
                foreign[device.name] = head
        if foreign:
            raise _foreign(foreign, journal)

    def _is_home(self, journal: Journal | LoadedJournal, head: TreeHead) -> bool:
        if extends_chain(self._state, journal, head) or _is_rehomed(journal.records, head):
            return True
        before = retired_journals(self._state, journal.records[0]) if journal.size else ()
        return any(_is_rehomed(loaded.records, head) for _, loaded in before)

    def _introduce(self) -> None:
        """Say what the host's directory is; that it can be written shows before a rollout begins.

        Raises:
            Refused: it cannot.
        """
        try:
            self._host().write_atomic(
                _ABOUT, b"cryofw: which journal drove which device. Keep it.\n"
            )
        except CryofwError as error:
            raise Refused(
                "this host cannot remember which journal drives its devices",
                why=str(error),
                hint="CRYOFW_HOST_STATE names a directory that stays, outside of the state",
            ) from error

    def remembered(self, device: Driven) -> TreeHead | None:
        """How far the journal was that drove a device; None if this host never drove it.

        Raises:
            Refused: the memory cannot be read.
        """
        storage, folder = self._place(device)
        entry = f"{folder}devices/{_key(device)}"
        try:
            if not storage.exists(entry):
                return None
            origin = str(json.loads(storage.read(entry))["origin"])
            return _decode_head(storage.read(_journal_entry(folder, origin)))
        except (CryofwError, ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"this host no longer knows which journal drove {device.name}",
                why=f"{entry}: {error if isinstance(error, CryofwError) else 'it is damaged'}",
                hint="restore that directory, or remove the entry if you are sure",
            ) from error

    def remember(self, head: TreeHead) -> None:
        """Keep how far the journal is now, before what it announces is done.

        Raises:
            StorageFailed, StorageDenied: it could not be kept.
        """
        data = _encode({"origin": head.origin, "size": head.size, "root": head.root.hex()})
        for storage, folder in self._places():
            storage.write_atomic(_journal_entry(folder, head.origin), data)
        if not self._bound:
            self._bind(head.origin)
            self._bound = True

    def _bind(self, origin: str) -> None:
        data = _encode({"origin": origin})
        for device in self._devices:
            storage, folder = self._place(device)
            entry = f"{folder}devices/{_key(device)}"
            if not storage.exists(entry) or storage.read(entry) != data:
                storage.write_atomic(entry, data)

    def _place(self, device: Driven) -> tuple[Storage, str]:
        if device.connection.port.startswith(SCHEME):
            return self._state, SIMULATED_FOLDER
        return self._host(), ""

    def _places(self) -> list[tuple[Storage, str]]:
        if self._known_places is None:
            places = (self._place(device) for device in self._devices)
            found = {folder: (storage, folder) for storage, folder in places}
            self._known_places = list(found.values())
        return self._known_places


def _key(device: Driven) -> str:
    """A device by its hardware id, which stays when it is plugged in elsewhere; else its port.

    A path counts by the name that fleet.yaml gives it: what it links to changes with each boot.
    """
    port = device.connection.port
    known = port_keys(port)[0] if "://" in port else f"path:{Path(port).absolute()}"
    if device.hw:
        known = f"hw:{device.hw}"
    return sha256(known.encode()).hexdigest()[:32]


def _journal_entry(folder: str, origin: str) -> str:
    return f"{folder}journals/{sha256(origin.encode()).hexdigest()[:32]}"


def _decode_head(data: bytes) -> TreeHead:
    fields = json.loads(data)
    return TreeHead(fields["origin"], int(fields["size"]), bytes.fromhex(fields["root"]))


def _encode(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _foreign(foreign: dict[str, TreeHead], journal: Journal | LoadedJournal) -> ForeignJournal:
    name, head = next(iter(foreign.items()))
    own = journal.head
    if own.origin == head.origin:
        why = (
            f"{name} was driven at {head.size} records of it; this copy has {own.size}"
            if own.size < head.size
            else f"{name} was driven by a copy that went on otherwise after an earlier record"
        )
    else:
        why = f"{name} was last driven by {head.origin} ({head.short}); here is " + (
            own.origin or "an empty journal"
        )
    return ForeignJournal(
        f"this journal is not the one that last drove {' '.join(sorted(foreign))}",
        why=why,
        hint="use the state directory where that journal lies. If it is lost: "
        f"`cryofw audit rehome {head.origin.rpartition('/')[2][:12]} --why TEXT`",
    )


def _is_rehomed(records: Iterable[Record], head: TreeHead) -> bool:
    wanted = (head.origin, head.size, head.root.hex())
    return any(
        record.kind == REHOMED
        and tuple(record.fields.get(name) for name in ("origin", "size", "root")) == wanted
        for record in records
    )


def find_lost(state: Storage, host: Storage, origin: str) -> TreeHead:
    """How far a journal was that this host remembers, by the beginning of its name.

    Args:
        state, host: as `JournalHome`.
        origin: from 8 digits of it on, with or without what stands before its last slash.

    Raises:
        BadInput: it remembers none, or several.
    """
    wanted = origin.rpartition("/")[2]
    found = []
    for storage, folder in ((state, SIMULATED_FOLDER), (host, "")):
        for entry in storage.list(f"{folder}journals/"):
            head = _decode_head(storage.read(entry))
            if len(wanted) >= 8 and head.origin.rpartition("/")[2].startswith(wanted):
                found.append(head)
    if len(found) != 1:
        raise BadInput(
            f"this host remembers {len(found) or 'no'} journals called {origin!r}",
            hint="the message that refused the journal names the lost one",
        )
    return found[0]


def rehome(journal: Journal, lost: TreeHead, by: str, why: str) -> Record:
    """Take this journal for the right one in place of a lost one, by a person's word.

    Raises:
        Refused: it is not lost: this journal extends it.
        JournalWriteFailed: as `Journal.append`.
    """
    if journal.extends(lost):
        raise Refused("this journal extends that one already; nothing was written")
    return journal.append(
        REHOMED, by=by, why=why, origin=lost.origin, size=lost.size, root=lost.root.hex()
    )
