"""One program per port: a lock between processes that a kill releases."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from cryofw.errors import Refused

if TYPE_CHECKING:
    from types import TracebackType

# Schemes whose port lies behind one TCP endpoint, whatever is spoken over it.
_NETWORK_SCHEMES = frozenset({"socket", "rfc2217", "tls"})


class PortLocked(Refused):
    """Another program, or another part of this one, holds the port.

    Attributes:
        holder: who, if the holder could be read.
    """

    def __init__(self, url: str, holder: Holder | None) -> None:
        who = f"process {holder.pid} ({holder.command})" if holder else "another process"
        super().__init__(
            f"port {url} is in use",
            why=f"{who} holds it",
            hint="wait until it has finished. A killed holder frees the port by itself.",
        )
        self.holder = holder


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: process id, command line, and the name it used for the port."""

    pid: int
    command: str
    port: str


def default_lock_directory() -> Path:
    """Return this user's lock directory: under XDG_RUNTIME_DIR, else under the temporary folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "cryofw-locks"
    return Path(tempfile.gettempdir()) / f"cryofw-locks-{os.getuid()}"


def port_keys(url: str) -> tuple[str, ...]:
    """Return the names under which a port is locked: all names of one port share at least one.

    A device path gives the path that its symbolic links lead to and, when it is there, its device
    number; `socket://`, `rfc2217://` and `tls://` give the TCP endpoint; other URLs are their own
    name.
    """
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme.lower() in _NETWORK_SCHEMES:
            return (f"tcp:{parts.netloc.lower()}",)
        return (url,)
    keys = [f"path:{os.path.realpath(url)}"]
    # The by-id name stays when the adapter comes back under another number.
    keys.append(f"path:{Path(url).absolute()}")
    with contextlib.suppress(OSError):
        status = Path(url).stat()
        if stat.S_ISCHR(status.st_mode):
            keys.append(f"char:{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    return tuple(dict.fromkeys(keys))


class PortLock:
    """Exclusive use of one port among the programs that share `directory`.

    The lock is an flock on a file, so the kernel drops it when the holder dies, however it dies.
    It is separate from the open port: it outlives reconnections.

    Args:
        url: port URL or device path.
        directory: made if absent (mode 0700).
        command: what to call the holder; this process's command line if left out.
    """

    def __init__(self, url: str, directory: Path, *, command: str | None = None) -> None:
        self._url = url
        self._directory = directory
        self._command = command if command is not None else " ".join(sys.argv) or "python"
        self._held: dict[str, int] = {}

    def acquire(self) -> None:
        """Take the lock under all names of the port.

        Raises:
            PortLocked: someone holds it; it names the process.
            Refused: the lock directory cannot be used.
        """
        self._prepare()
        try:
            self._take_all()
        except BaseException:
            self.release()
            raise

    def follow(self) -> bool:
        """Go where the port's name leads now: call it before the port is opened again.

        Names that are no longer the port's are given back, before others are taken: two adapters
        that have changed numbers with each other would wait for each other for ever. The name
        itself stays held, also when this raises.

        Returns:
            Whether anything has changed.

        Raises:
            PortLocked: someone else holds the node that the port's name leads to now.
        """
        keys = set(port_keys(self._url))
        stale = [key for key in self._held if key not in keys]
        changed = bool(stale) or not keys <= self._held.keys()
        for key in stale:
            _give_back(self._held.pop(key))
        self._take_all()
        return changed

    def release(self) -> None:
        """Give the lock back; may be called twice."""
        for descriptor in self._held.values():
            _give_back(descriptor)
        self._held.clear()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _prepare(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._directory.lstat()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        # Under the temporary folder anybody can make it before us, and hold what they like there.
        if not stat.S_ISDIR(status.st_mode):
            raise self._unusable("it is a symbolic link, or no directory")
        if status.st_uid != os.getuid():
            raise self._unusable("it belongs to another user")
        if status.st_mode & stat.S_IWOTH:
            raise self._unusable("others may write to it")

    def _take_all(self) -> None:
        for key in port_keys(self._url):
            if key not in self._held:
                self._held[key] = self._take(self._directory / f"{_file_name(key)}.lock")

    def _take(self, path: Path) -> int:
        import fcntl

        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise PortLocked(self._url, holder) from error
        os.ftruncate(descriptor, 0)
        us = {"pid": os.getpid(), "command": self._command, "port": self._url}
        os.pwrite(descriptor, json.dumps(us).encode(), 0)
        return descriptor

    def _unusable(self, why: str) -> Refused:
        return Refused(
            f"cannot lock port {self._url}",
            why=f"{self._directory}: {why}",
            hint="without a lock two programs could write to one device; "
            "name a lock directory that you may write to.",
        )


def _give_back(descriptor: int) -> None:
    # The file stays: removing it would let two holders lock two files of one name.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _read_holder(descriptor: int) -> Holder | None:
    try:
        found = json.loads(os.pread(descriptor, 65536, 0))
        return Holder(int(found["pid"]), str(found["command"]), str(found["port"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # taken this very moment: the holder has not written its name yet


def _file_name(key: str) -> str:
    """Turn a key into a file name, one to one."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda match: f"_{ord(match.group()):x}_", key)
