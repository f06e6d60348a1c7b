"""Files that are read whole and believed: regular ones, which others cannot change."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from cryofw.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_GITLAB = (
    "in GitLab's docker executor, which clears the umask for a checkout, set "
    "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR"
)


class FileRefused(Refused):
    """A file that is not what it seems, or that others could change; nothing of it was used."""


def _anything(_mode: int) -> None:
    """Whoever may read or write it."""


def read_regular(
    path: Path, kind: str, largest: int, require: Callable[[int], None] = _anything
) -> bytes:
    """Read a file, and see on the open file itself what it is: its name may change meanwhile.

    Args:
        path: of the file; a symbolic link counts as what it leads to.
        kind: what it is, for messages, such as "keyring".
        largest: bytes that are expected at most; one more is read, and tells that there are more.
        require: told the permission bits; raises for those that it does not take.

    Raises:
        FileRefused: a pipe, a device or a socket, any of which may never end.
        OSError: it cannot be opened or read; IsADirectoryError for a directory.
    """
    # A pipe without a writer would hold us up for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        _require_regular(mode, path, kind)
        require(stat.S_IMODE(mode))
    except BaseException:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read(largest + 1)


def _require_regular(mode: int, path: Path, kind: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise FileRefused(
            f"the {kind} {path} is no regular file",
            why="it is a pipe, a device or a socket, which may never end",
            hint="give a file, or write what it says into one first",
        )


def read_trusted(path: Path, kind: str, largest: int) -> bytes:
    """Read a file that is believed: nobody but its owner and group may write to it.

    Raises:
        FileRefused: others may; or as `read_regular`.
        OSError: as `read_regular`.
    """

    def require(mode: int) -> None:
        if mode & stat.S_IWOTH:
            raise FileRefused(
                f"others may write to the {kind} {path}",
                why=f"its mode is {mode:04o}, and what it says is believed",
                hint=f"look through it, then `chmod o-w {path}`; {_GITLAB}",
            )

    return read_regular(path, kind, largest, require)
