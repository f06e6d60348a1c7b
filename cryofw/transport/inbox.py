"""What a line has brought and nobody has read yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryofw.transport.stream import StreamLost

FULL: Final = 1 << 18
"""Bytes at which the other side should be held back: nobody reads, and memory has an end."""


class Inbox:
    """Bytes between a callback of the event loop, which puts them, and one reader."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._error: StreamLost | None = None
        self._ended = False

    @property
    def full(self) -> bool:
        """Whether there is more than a reader should leave lying."""
        return len(self._data) >= FULL

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    @property
    def error(self) -> StreamLost | None:
        """How it ended; None: regularly, or not yet."""
        return self._error

    def drain(self) -> bytes:
        """Return what has come, without waiting."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def put(self, data: bytes) -> None:
        """Add bytes off the line."""
        self._data += data
        self._wake()

    def end(self, error: StreamLost | None = None, *, discard: bool = False) -> None:
        """Say that nothing more will come; only the first end counts, unless it discards.

        Args:
            error: raised once the rest is read; None: the other side has closed.
            discard: drop the rest, for the reader has closed the stream.
        """
        if discard:
            self._data.clear()
        if discard or not self._ended:
            self._error = error
        self._ended = True
        self._wake()

    async def take(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes as soon as there are any; b"" at a regular end.

        Raises:
            StreamLost: as `end` was told.
        """
        while not self._data:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = bytes(self._data[:max_bytes])
        del self._data[:max_bytes]
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
