"""The Storage port: where bytes that must survive a power cut are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cryofw.errors import BadInput, Paused, Refused

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class StorageFailed(Paused):
    """The disk did not take or give the bytes; after it is mended, `resume` continues."""


class StorageDenied(BadInput):
    """The place is not one that this user can keep anything in; waiting does not help."""


class StorageMissing(BadInput):
    """There is no such entry in the storage."""


class StorageLocked(Refused):
    """Another process holds the lock; its holder is named."""


class StorageUnsafe(Refused):
    """What lies there is not what it seems, or others can change it; nothing of it was used."""


class StorageFenced(Refused):
    """The handle belongs to a run that has ended; nothing was written."""


class Storage(Protocol):
    """Named byte strings. A name is a relative path with `/`; every write is durable on return.

    All methods raise StorageFailed when the medium fails, and StorageDenied when the place itself
    is wrong: not a directory, read-only, somebody else's; and StorageUnsafe where an entry is a
    link to elsewhere, no regular file, or open to others.
    """

    def append(self, name: str, data: bytes) -> None:
        """Append and sync; creates the entry. On failure any prefix of `data` may remain."""

    def read(self, name: str) -> bytes:
        """The whole entry; raises StorageMissing."""

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on, fewer at the end; raises StorageMissing."""

    def exists(self, name: str) -> bool:
        """Whether the entry exists."""

    def write_atomic(self, name: str, data: bytes) -> None:
        """Replace the entry: after a power cut it is wholly the old or wholly the new one."""

    def truncate(self, name: str, size: int) -> None:
        """Cut the entry to its first `size` bytes; raises StorageMissing."""

    def remove(self, name: str) -> None:
        """Remove the entry; no error if there is none."""

    def list(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`, sorted; locks are not among them."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock `name` exclusively between processes; raises StorageLocked."""
