"""Files of commands: read whole, written whole or not at all, overwritten only on request."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from cryofw.errors import BadInput, Refused
from cryofw.keys import read_regular, read_trusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LARGEST = 64 << 20


def read_file(path: Path, kind: str) -> bytes:
    """Read a whole file.

    Args:
        path: of the file.
        kind: what it is, for the message, such as "image".

    Raises:
        BadInput: it is missing, unreadable, empty, or larger than 64 MiB.
        FileRefused: it is no regular file.
    """
    return _read(path, kind, read_regular)


def read_trusted_file(path: Path, kind: str) -> bytes:
    """Read a whole file whose word is believed.

    Raises:
        BadInput: as `read_file`.
        FileRefused: it is no regular file, or others may write to it.
    """
    return _read(path, kind, read_trusted)


def _read(path: Path, kind: str, read: Callable[[Path, str, int], bytes]) -> bytes:
    try:
        data = read(path, kind, _LARGEST)
    except OSError as error:
        raise BadInput(
            f"cannot read the {kind} {path}", why=error.strerror or str(error)
        ) from error
    if not data:
        raise BadInput(f"the {kind} {path} is empty")
    if len(data) > _LARGEST:
        raise BadInput(f"the {kind} {path} is too large", why=f"more than {_LARGEST >> 20} MiB")
    return data


def refuse_existing(path: Path, *, force: bool) -> None:
    """Stop early when a command would overwrite a file, before its work is done.

    Raises:
        Refused: the file is there and `force` is not given.
    """
    if not force and os.path.lexists(path):
        raise Refused(f"{path} exists already", hint="--force overwrites it")


def write_file(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file so that after a crash it is there whole, or not at all.

    Its name is not synced as well: what commands write can be written again.

    Raises:
        Refused: it exists and `force` is not given, however late it appeared.
        BadInput: the directory is missing or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        try:
            _write_synced(temporary, data)
            if not force:
                _claim(temporary, path)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise Refused(f"{path} exists already", hint="--force overwrites it") from error
    except OSError as error:
        raise BadInput(f"cannot write {path}", why=error.strerror or str(error)) from error


def _claim(temporary: Path, path: Path) -> None:
    """Take the name `path` for ourselves, or raise FileExistsError: a rename alone overwrites."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        path.open("xb").close()  # FAT and some network shares have no links


def _write_synced(path: Path, data: bytes) -> None:
    # A keyring or a plan that others could write to would be refused when it is read again.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o664), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
