"""Where the bits of a chip are kept: in memory, or in a file that outlives the process."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import cache
from typing import TYPE_CHECKING, Protocol

from cryofw.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_INVERT = bytes(value ^ 0xFF for value in range(256))


def storage_unusable(path: Path, error: OSError) -> Refused:
    """The error for files of a simulated lab that cannot be used."""
    return Refused(
        "the simulated lab cannot be used",
        why=f"{error.filename or path}: {error.strerror}",
        hint="check who owns the directory and whether the disk is full",
    )


@cache
def erased(size: int) -> bytes:
    """So many erased bytes, the same for all chips."""
    return b"\xff" * size


class FlashStorage(Protocol):
    """Where the bits of one chip are kept; erased bytes read as 0xff."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""

    def write(self, offset: int, data: bytes) -> None:
        """Replace the bytes from `offset`, whatever was there."""


_MOST_SHARED = 8192
_SHARED: OrderedDict[bytes, bytes] = OrderedDict()


def _share(block: bytes) -> bytes:
    """The copy of a block that other chips hold, too: thousands hold the same images."""
    found = _SHARED.setdefault(block, block)
    if len(_SHARED) > _MOST_SHARED:
        _SHARED.popitem(last=False)
    return found


class MemoryStorage:
    """Sparse storage in memory; equal blocks are one, and those never written are none at all."""

    def __init__(
        self, size: int, *, block_size: int = 4096, blocks: Mapping[int, bytes] | None = None
    ) -> None:
        self.size = size
        self._block_size = block_size
        self._erased = erased(block_size)
        self._blocks: dict[int, bytes] = dict(blocks or {})

    @property
    def content(self) -> frozenset[tuple[int, bytes]]:
        """What was written and stands, by block; equal for equal chips."""
        return frozenset(self._blocks.items())

    def copy(self) -> MemoryStorage:
        """Return an independent chip with the same content; blocks are shared until written."""
        return MemoryStorage(self.size, block_size=self._block_size, blocks=self._blocks)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""
        first, start = divmod(offset, self._block_size)
        last = (offset + length - 1) // self._block_size
        if first >= last:
            return self._blocks.get(first, self._erased)[start : start + length]
        parts = [self._blocks.get(index, self._erased) for index in range(first, last + 1)]
        return b"".join(parts)[start : start + length]

    def write(self, offset: int, data: bytes) -> None:
        """Replace the bytes from `offset`, whatever was there."""
        position = 0
        while position < len(data):
            index, start = divmod(offset + position, self._block_size)
            part = data[position : position + self._block_size - start]
            position += len(part)
            if len(part) < self._block_size:
                old = self._blocks.get(index, self._erased)
                part = old[:start] + part + old[start + len(part) :]
            if part == self._erased:
                self._blocks.pop(index, None)
            else:
                self._blocks[index] = _share(part)


class FileStorage:
    """Storage in one sparse file, which survives the end of the process at any moment.

    The file holds the bits inverted: a hole in a sparse file reads as zeros, so what was never
    programmed needs no disk. Each change is one `pwrite`, so a killed process leaves the chip as
    a power cut between two operations would.

    Raises:
        Refused: the file system does not let us.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._path = path
        self._descriptor = -1

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._descriptor).st_size != self.size:
                os.ftruncate(self._descriptor, self.size)
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""
        try:
            return os.pread(self._open(), length, offset).translate(_INVERT)
        except OSError as error:
            raise storage_unusable(self._path, error) from error

    def write(self, offset: int, data: bytes) -> None:
        """Replace the bytes from `offset`, whatever was there."""
        try:
            os.pwrite(self._open(), data.translate(_INVERT), offset)
        except OSError as error:
            raise storage_unusable(self._path, error) from error

    def close(self) -> None:
        """Give the file descriptor back; the next access opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
