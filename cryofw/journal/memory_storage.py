"""Storage in memory, for simulated time and for tests: it can die at any write, like a host.

The bytes live on a `MemoryDisk`; a `MemoryStorage` is the handle of one run. When the run dies,
what was not synced is lost, its locks are free, and its handle is fenced: `finally` blocks of dead
coroutines run late and must not write.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.journal.storage import StorageFailed, StorageFenced, StorageLocked, StorageMissing

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class MemoryDisk:
    """What survives: entries by name, and who holds which lock; a `full` one takes no byte."""

    entries: dict[str, bytes] = field(default_factory=dict)
    locks: dict[str, MemoryStorage] = field(default_factory=dict)
    full: bool = False


class HostDied(BaseException):
    """The simulated host lost power inside a write. No `except Exception` may survive it."""


class MemoryStorage:
    """The handle of one run on a disk; `holder` is named when a lock is refused."""

    def __init__(self, disk: MemoryDisk | None = None, *, holder: str = "this process") -> None:
        self.disk = MemoryDisk() if disk is None else disk
        self.holder = holder
        self.writes = 0  # appends, replacements and truncations so far
        self._dead = False
        self._die_at: tuple[int, int] | None = None
        self._fail_at: tuple[int, int] | None = None

    def die(self, *, holder: str = "the next process") -> MemoryStorage:
        """End this run without warning; the answer is the handle of the next run."""
        self._dead = True
        for name in [name for name, owner in self.disk.locks.items() if owner is self]:
            del self.disk.locks[name]
        return MemoryStorage(self.disk, holder=holder)

    def die_at(self, write: int, kept: int = 0) -> None:
        """Lose power inside the `write`-th write from now (0 is the next): `kept` bytes arrive."""
        self._die_at = (self.writes + write, kept)

    def fail_at(self, write: int, kept: int = 0) -> None:
        """Let the `write`-th write from now fail as a full disk does: `kept` bytes arrive."""
        self._fail_at = (self.writes + write, kept)

    def append(self, name: str, data: bytes) -> None:
        """Append; synced on return."""
        before = self.disk.entries.get(name, b"")
        kept = self._fault(len(data))
        self.disk.entries[name] = before + data[:kept]
        self._end_write(name, torn=kept is not None)

    def read(self, name: str) -> bytes:
        """The whole entry; raises StorageMissing."""
        self._check()
        if name not in self.disk.entries:
            raise StorageMissing(f"{name} does not exist")
        return self.disk.entries[name]

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        """A part of the entry; raises StorageMissing."""
        return self.read(name)[offset : offset + size]

    def exists(self, name: str) -> bool:
        """Whether the entry exists."""
        self._check()
        return name in self.disk.entries

    def write_atomic(self, name: str, data: bytes) -> None:
        """Replace the entry, wholly or not at all."""
        torn = self._fault(len(data)) is not None
        if not torn:
            self.disk.entries[name] = data
        self._end_write(name, torn=torn)

    def truncate(self, name: str, size: int) -> None:
        """Cut the entry, or not at all; raises StorageMissing."""
        before = self.read(name)
        torn = self._fault(0) is not None
        if not torn:
            self.disk.entries[name] = before[:size].ljust(size, b"\0")
        self._end_write(name, torn=torn)

    def remove(self, name: str) -> None:
        """Remove the entry."""
        self._check()
        self.disk.entries.pop(name, None)

    def list(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`."""
        self._check()
        return sorted(name for name in self.disk.entries if name.startswith(prefix))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock until the end or until this run dies."""
        self._check()
        owner = self.disk.locks.get(name)
        if owner is not None:
            raise StorageLocked(
                f"{name} is in use",
                why=f"held by {owner.holder}",
                hint="wait for it to end, or stop it; one journal has one writer",
            )
        self.disk.locks[name] = self
        try:
            yield
        finally:
            if self.disk.locks.get(name) is self:
                del self.disk.locks[name]

    def _check(self) -> None:
        if self._dead:
            raise StorageFenced("this run has ended", hint="open the storage again")

    def _fault(self, size: int) -> int | None:
        """How many bytes of this write arrive, if it is to be torn."""
        self._check()
        for fault in (self._die_at, self._fail_at):
            if fault is not None and fault[0] == self.writes:
                return min(fault[1], size)
        return 0 if self.disk.full else None

    def _end_write(self, name: str, *, torn: bool) -> None:
        write, self.writes = self.writes, self.writes + 1
        if not torn:
            return
        if self._die_at is not None and self._die_at[0] == write:
            self.die()
            raise HostDied(f"power lost in write {write} ({name})")
        hint = "free space or mend the disk, then `cryofw resume`"
        raise StorageFailed(f"cannot write {name}", why="No space left on device", hint=hint)
