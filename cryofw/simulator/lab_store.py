"""Where a lab keeps its devices while no process runs it: on disk, or nowhere.

On disk:

    lab.json            what the lab is made of (`lab_file`)
    clock               seconds of the lab's clock, one double
    stages/NAME.json    heat of the stage of a cryostat
    climate/lab.json    what happens to cryostats (`climate`); only if anything does
    devices/NAME.flash  the chip (sparse, see `flash.FileStorage`)
    devices/NAME.json   RAM, while the device has power

Every change is one system call on one file, so a killed process leaves whole files.
"""

from __future__ import annotations

import os
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from cryofw.errors import Refused
from cryofw.simulator.flash_storage import FileStorage, FlashStorage, storage_unusable
from cryofw.transport import PortLock, PortLocked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CLOCK = struct.Struct("<d")


def clock_seconds(data: bytes) -> float:
    """What the file `clock` says; 0 before it was written whole."""
    seconds: float = _CLOCK.unpack(data)[0] if len(data) == _CLOCK.size else 0.0
    return seconds


class Kind(StrEnum):
    """What small records are kept; the names of their folders."""

    DEVICE = "devices"
    STAGE = "stages"
    CLIMATE = "climate"


class LabStore(Protocol):
    """Port to what outlives a run of the lab."""

    clock_s: float

    def open(self) -> None:
        """Take the lab; raises Refused if another process has it or files cannot be used."""

    def close(self) -> None:
        """Give the lab back; may be called twice."""

    def advance(self, seconds: float) -> None:
        """Move the clock on, never back."""

    def storage(self, name: str) -> FlashStorage:
        """The chip of a device."""

    def load(self, kind: Kind, name: str) -> bytes:
        """What was saved of a device or stage, b"" if nothing."""

    def save(self, kind: Kind, name: str, data: bytes) -> None:
        """Keep what a device or a stage has to remember."""


class MemoryStore:
    """A lab that ends with the process."""

    def __init__(self, storages: Mapping[str, FlashStorage]) -> None:
        self.clock_s = 0.0
        self._storages = storages
        self._saved: dict[tuple[Kind, str], bytes] = {}

    def open(self) -> None:
        """See `LabStore`."""

    def close(self) -> None:
        """See `LabStore`."""

    def advance(self, seconds: float) -> None:
        """See `LabStore`."""
        self.clock_s = max(self.clock_s, seconds)

    def storage(self, name: str) -> FlashStorage:
        """See `LabStore`."""
        return self._storages[name]

    def load(self, kind: Kind, name: str) -> bytes:
        """See `LabStore`."""
        return self._saved.get((kind, name), b"")

    def save(self, kind: Kind, name: str, data: bytes) -> None:
        """See `LabStore`."""
        self._saved[kind, name] = data


class RecordFile:
    """A small file whose whole content one `pwrite` replaces; padded to its longest content."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._content = b""

    def read(self) -> bytes:
        """Return the content, b"" if there is none."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def write(self, data: bytes) -> None:
        """Replace the content, unless it is the same."""
        content = data.ljust(len(self._content))
        if content == self._content:
            return
        if self._descriptor < 0:
            self._path.parent.mkdir(exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            content = data.ljust(os.fstat(self._descriptor).st_size)
        os.pwrite(self._descriptor, content, 0)
        self._content = content

    def close(self) -> None:
        """Give the file descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DiskStore:
    """A lab in a directory; see the module for its files."""

    def __init__(self, directory: Path, slot_sizes: Mapping[str, int]) -> None:
        self.clock_s = 0.0
        self._directory = directory
        self._storages = {
            name: FileStorage(directory / "devices" / f"{name}.flash", 2 * slot_size)
            for name, slot_size in slot_sizes.items()
        }
        self._records: dict[tuple[Kind, str], RecordFile] = {}
        self._clock = -1
        self._lock = PortLock(f"{directory}", directory / "lock")

    def open(self) -> None:
        """See `LabStore`."""
        try:
            self._lock.acquire()
        except PortLocked as error:
            raise Refused(
                "the simulated lab is in use",
                why=f"{self._directory}: {error.why}",
                hint=error.hint,
            ) from error
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._clock = os.open(self._directory / "clock", flags, 0o600)
            raw = os.pread(self._clock, _CLOCK.size, 0)
        except OSError as error:
            self.close()
            raise storage_unusable(self._directory, error) from error
        self.clock_s = clock_seconds(raw)

    def close(self) -> None:
        """See `LabStore`."""
        for record in self._records.values():
            record.close()
        for storage in self._storages.values():
            storage.close()
        if self._clock >= 0:
            os.close(self._clock)
            self._clock = -1
        self._lock.release()

    def advance(self, seconds: float) -> None:
        """See `LabStore`."""
        if seconds > self.clock_s:
            self.clock_s = seconds
            try:
                os.pwrite(self._clock, _CLOCK.pack(seconds), 0)
            except OSError as error:
                raise storage_unusable(self._directory, error) from error

    def storage(self, name: str) -> FlashStorage:
        """See `LabStore`."""
        return self._storages[name]

    def load(self, kind: Kind, name: str) -> bytes:
        """See `LabStore`."""
        try:
            return self._record(kind, name).read()
        except OSError as error:
            raise storage_unusable(self._directory, error) from error

    def save(self, kind: Kind, name: str, data: bytes) -> None:
        """See `LabStore`."""
        try:
            self._record(kind, name).write(data)
        except OSError as error:
            raise storage_unusable(self._directory, error) from error

    def _record(self, kind: Kind, name: str) -> RecordFile:
        record = self._records.get((kind, name))
        if record is None:
            record = RecordFile(self._directory / kind / f"{name}.json")
            self._records[kind, name] = record
        return record
