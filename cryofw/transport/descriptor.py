"""A file descriptor of a terminal device as a byte stream, on the event loop's own readiness."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from cryofw.transport.stream import StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable


class DescriptorStream:
    """A non-blocking descriptor; no thread, no polling.

    Args:
        descriptor: open for reading and writing; set to non-blocking here.
        name: what errors call the port.
        on_close: gives the descriptor back; called once.
        stall_s: after so many seconds in which the other side takes nothing, the rest of a write
            is dropped, as a UART without a listener drops it; None waits for ever.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        name: str,
        on_close: Callable[[], None],
        stall_s: float | None = None,
    ) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._name = name
        self._on_close = on_close
        self._stall_s = stall_s
        self._waiting: set[asyncio.Future[None]] = set()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        while True:
            descriptor = self._open_descriptor()
            try:
                return os.read(descriptor, max_bytes)
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await self._ready(descriptor, loop.add_reader, loop.remove_reader)
            except OSError as error:
                raise self._lost(error) from error

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        rest = memoryview(data)
        while rest:
            descriptor = self._open_descriptor()
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                try:
                    async with asyncio.timeout(self._stall_s):
                        await self._ready(descriptor, loop.add_writer, loop.remove_writer)
                except TimeoutError:
                    return
            except OSError as error:
                raise self._lost(error) from error

    async def close(self) -> None:
        """See `ByteStream.close`."""
        if self._descriptor is None:
            return
        self._descriptor = None
        for future in list(self._waiting):
            if not future.done():
                future.set_result(None)
        # The waiters take their descriptor out of the loop before the number can be used again.
        await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            self._on_close()

    async def _ready(
        self,
        descriptor: int,
        watch: Callable[..., None],
        unwatch: Callable[[int], bool],
    ) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        watch(descriptor, _settle, future)
        try:
            await future
        finally:
            unwatch(descriptor)
            self._waiting.discard(future)

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise StreamLost(f"{self._name} is lost", why="it was closed")
        return self._descriptor

    def _lost(self, error: OSError) -> StreamLost:
        return StreamLost(
            f"the line on {self._name} broke",
            why=error.strerror or str(error),
            hint="check the cable and the adapter's power; `dmesg` says whether it disconnected.",
        )


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
