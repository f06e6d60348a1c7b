"""Storage in a directory: fsync of file and directory, flock between processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cryofw.journal.own_file import require_own
from cryofw.journal.storage import StorageDenied, StorageFailed, StorageLocked, StorageMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK_SUFFIX = ".lock"
_TEMP_SUFFIX = ".tmp"
_DENIED = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
    errno.ENAMETOOLONG,
})  # fmt: skip


class FileStorage:
    """Entries are files below `directory`, which is made when first written to.

    Args:
        directory: where they lie.
        public: others may read them (0644 and 0755), as those of a repository that a web server
            serves; else nobody may (0600 and 0700). The umask takes its bits from both.
    """

    def __init__(self, directory: str | Path, *, public: bool = False) -> None:
        self.directory = Path(directory)
        self._file_mode, self._directory_mode = (0o644, 0o755) if public else (0o600, 0o700)
        self._is_public = public
        self._open: dict[str, int] = {}  # descriptors of entries that are appended to

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors kept for appending; the storage stays usable."""
        while self._open:
            _, descriptor = self._open.popitem()
            with suppress(OSError):
                os.close(descriptor)

    def append(self, name: str, data: bytes) -> None:
        """Append and fsync; the directory is synced too when the file is new."""
        with _translated(f"cannot write {self._path(name)}"):
            descriptor = self._open.get(name)
            if descriptor is None:
                descriptor = self._open_to_append(name)
            _write_all(descriptor, data)
            os.fsync(descriptor)

    def _open_to_append(self, name: str) -> int:
        path = self._own(name)
        is_new = not path.exists()
        self._make_parent(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, self._file_mode)
        self._open[name] = descriptor
        if is_new:
            _sync_directory(path.parent)
        return descriptor

    def read(self, name: str) -> bytes:
        """The whole file; raises StorageMissing."""
        path = self._own(name)
        with _translated(f"cannot read {path}"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                raise StorageMissing(f"{path} does not exist") from None

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        """A part of the file; raises StorageMissing."""
        path = self._own(name)
        with _translated(f"cannot read {path}"):
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    return file.read(size)
            except FileNotFoundError:
                raise StorageMissing(f"{path} does not exist") from None

    def exists(self, name: str) -> bool:
        """Whether the file exists."""
        return self._path(name).is_file()

    def write_atomic(self, name: str, data: bytes) -> None:
        """Write beside, fsync, rename, fsync the directory."""
        path = self._own(name)
        # Two processes may replace the same entry: neither may rename what the other writes.
        temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMP_SUFFIX}")
        with _translated(f"cannot write {path}"):
            self._make_parent(path)
            self._forget(name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, self._file_mode)
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            finally:
                os.close(descriptor)
            temporary.replace(path)
            _sync_directory(path.parent)

    def truncate(self, name: str, size: int) -> None:
        """Cut the file and fsync it; raises StorageMissing."""
        path = self._own(name)
        with _translated(f"cannot truncate {path}"):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise StorageMissing(f"{path} does not exist") from None
            try:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """Unlink the file and sync its directory."""
        path = self._path(name)
        with _translated(f"cannot remove {path}"):
            self._forget(name)
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync_directory(path.parent)

    def list(self, prefix: str = "") -> list[str]:
        """Names of the files below the directory that begin with `prefix`."""
        top = self.directory / PurePosixPath(prefix).parent if "/" in prefix else self.directory
        if prefix.endswith("/"):
            top = self.directory / prefix
        with _translated(f"cannot read {top}"):
            if not top.is_dir():  # cheap: a running rollout asks for its requests all the time
                return []
            names = (
                path.relative_to(self.directory).as_posix()
                for path in top.rglob("*")
                if path.is_file() and path.suffix not in {_LOCK_SUFFIX, _TEMP_SUFFIX}
            )
            return sorted(name for name in names if name.startswith(prefix))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """flock on a file beside; the kernel releases it when the process dies."""
        path = self._own(name + _LOCK_SUFFIX)
        with _translated(f"cannot lock {path}"):
            self._make_parent(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(os.pread(descriptor, 4096, 0))
                raise StorageLocked(
                    f"{self._path(name)} is in use",
                    why=f"held by {holder}",
                    hint="wait for it to end, or stop it; one journal has one writer",
                ) from None
            # Only for people who ask who holds it; the lock itself is the kernel's.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _self_description(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise ValueError(f"{name!r} is not a name in a storage")
        return self.directory.joinpath(*parts)

    def _own(self, name: str) -> Path:
        """The path of an entry; raises StorageUnsafe if it is not ours alone.

        What is published may lie as its server likes: clients verify it.
        """
        path = self._path(name)
        if not self._is_public:
            require_own(self.directory, path)
        return path

    def _forget(self, name: str) -> None:
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _make_parent(self, path: Path) -> None:
        missing = []
        parent = path.parent
        while not parent.exists():
            missing.append(parent)
            parent = parent.parent
        for directory in reversed(missing):
            directory.mkdir(mode=self._directory_mode, exist_ok=True)
            _sync_directory(directory.parent)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _DENIED:
            hint = "check the path and its owner; --state names another directory"
            raise StorageDenied(what, why=reason, hint=hint) from error
        hint = "free space or mend the disk, then `cryofw resume`"
        raise StorageFailed(what, why=reason, hint=hint) from error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _self_description() -> bytes:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:500]
    return json.dumps({"pid": os.getpid(), "command": command}).encode()


def _holder(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} ({holder['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
