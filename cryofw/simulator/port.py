"""The host's end of a simulated serial line, as a `transport.ByteStream`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.transport import StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable


class SimulatedPort:
    """An open `sim://` port; works in any event loop, real or virtual time."""

    def __init__(self, name: str, *, on_close: Callable[[str], None]) -> None:
        self._name = name
        self._send: Callable[[bytes], None] = lambda _data: None
        self._on_close = on_close
        self._inbox = bytearray()
        self._readable = asyncio.Event()
        self._lost = ""

    def connect(self, send: Callable[[bytes], None]) -> None:
        """Give it what takes bytes for the device."""
        self._send = send

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        while not self._inbox:
            self._check()
            self._readable.clear()
            await self._readable.wait()
        self._check()
        data = bytes(self._inbox[:max_bytes])
        del self._inbox[:max_bytes]
        return data

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        self.write_now(data)
        await asyncio.sleep(0)

    def write_now(self, data: bytes) -> int:
        """See `DirectWriter.write_now`."""
        self._check()
        self._send(data)
        return len(data)

    async def close(self) -> None:
        """See `ByteStream.close`."""
        self.hang_up()

    def hang_up(self) -> None:
        """Close it at once, as the kernel does for a process that died."""
        if not self._lost:
            self.lose("it was closed")
            self._on_close(self._name)

    def deliver(self, data: bytes) -> None:
        """Take bytes from the device."""
        self._inbox += data
        self._readable.set()

    def lose(self, why: str) -> None:
        """Break the stream; reads and writes raise from now on."""
        self._lost = self._lost or why
        self._readable.set()

    def _check(self) -> None:
        if self._lost:
            raise StreamLost(f"sim://{self._name} is lost", why=self._lost)
