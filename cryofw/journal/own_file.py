"""What lies in a private directory: files of its own, which no other user can change."""

from __future__ import annotations

import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from cryofw.journal.storage import StorageUnsafe

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 1 << 32
"""Bytes; ten million records of a journal."""


def require_own(directory: Path, path: Path) -> None:
    """See that an entry, if it is there, is a file of its own, and so is each directory above it.

    A backup or an archive that was unpacked here can bring links that lead elsewhere, and pipes
    that never end. The directory itself may be a link: that is where a person wants it.

    Args:
        directory: the private directory.
        path: of an entry below it.

    Raises:
        StorageUnsafe: a link, no regular file, a file without end, or others may write to it.
    """
    with suppress(OSError):  # it is not there yet; whoever opens it says what else is wrong
        _require_closed(directory, directory.stat().st_mode)
    *folders, last = path.relative_to(directory).parts
    for folder in folders:
        directory /= folder
        _require_own(directory)
    _require_own(directory / last)


def _require_own(path: Path) -> None:
    try:
        status = path.lstat()
    except OSError:
        return
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        raise StorageUnsafe(
            f"{path} is a symbolic link",
            why="what is kept here lies here itself: a link could lead to what others can change",
            hint="put the file or directory itself there; --state may name a link",
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StorageUnsafe(
            f"{path} is no regular file",
            why="it is a pipe, a device or a socket",
            hint="restore the directory from its backup",
        )
    if status.st_size > _LARGEST:
        raise StorageUnsafe(
            f"{path} is larger than anything that is kept here",
            why=f"it has {status.st_size} bytes; reading them would fill the memory",
            hint="restore the directory from its backup",
        )
    _require_closed(path, mode)


def _require_closed(path: Path, mode: int) -> None:
    if mode & stat.S_IWOTH:
        raise StorageUnsafe(
            f"others may write to {path}",
            why=f"its mode is {stat.S_IMODE(mode):04o}, and what lies there is believed",
            hint=f"look through it, then `chmod o-w {path}`",
        )
