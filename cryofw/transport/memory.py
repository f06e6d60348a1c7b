"""A pair of streams inside one process: pure asyncio, so it also runs in virtual time."""

from __future__ import annotations

import asyncio

from cryofw.transport.stream import StreamLost


class MemoryStream:
    """One end of `memory_pair`: what one end writes, the other end reads, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inbox = bytearray()
        self._readable = asyncio.Event()
        self._closed = False
        self._broken = False
        self._peer: MemoryStream | None = None

    def join(self, peer: MemoryStream) -> None:
        """Make `peer` the other end."""
        self._peer = peer

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        while True:
            if self._closed or self._broken:
                raise self._lost()
            if self._inbox:
                data = bytes(self._inbox[:max_bytes])
                del self._inbox[:max_bytes]
                return data
            if self._peer is None or self._peer.closed:
                return b""
            self._readable.clear()
            await self._readable.wait()

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        self.write_now(data)
        await asyncio.sleep(0)

    def write_now(self, data: bytes) -> int:
        """See `DirectWriter.write_now`."""
        if self._closed or self._broken or self._peer is None or self._peer.closed:
            raise self._lost()
        self._peer.deliver(data)
        return len(data)

    async def close(self) -> None:
        """See `ByteStream.close`; the other end reads what is left, then b""."""
        self._closed = True
        self._readable.set()
        if self._peer is not None:
            self._peer.wake()

    def cut(self) -> None:
        """Break the line, as a pulled cable does: both ends get `StreamLost`, unread bytes die."""
        for end in (self, self._peer):
            if end is not None:
                end.break_off()

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._closed

    def deliver(self, data: bytes) -> None:
        """Put `data` where this end reads it."""
        self._inbox += data
        self._readable.set()

    def wake(self) -> None:
        """Let a waiting reader look again."""
        self._readable.set()

    def break_off(self) -> None:
        """Lose the line at this end."""
        self._broken = True
        self._inbox.clear()
        self._readable.set()

    def _lost(self) -> StreamLost:
        why = "it was closed" if self._closed else "the line was cut"
        return StreamLost(f"{self._name} is lost", why=why)


def memory_pair(name: str = "memory stream") -> tuple[MemoryStream, MemoryStream]:
    """Return two joined ends; `name` is what errors call them."""
    near, far = MemoryStream(name), MemoryStream(name)
    near.join(far)
    far.join(near)
    return near, far
