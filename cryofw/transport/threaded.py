"""Ports that only block (pyserial's network URLs), read by a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cryofw.transport.stream import StreamLost

if TYPE_CHECKING:
    import serial

# How long a blocking read may last: it bounds how long `close` waits for the reader.
READ_SLICE_S = 0.1
BUFFER_LIMIT = 1 << 20


class ThreadedStream:
    """An open pyserial port whose reads and writes block.

    A daemon thread reads, a single worker writes, and `close` waits for both: no thread outlives
    the stream, and a loop that dies without closing does not keep the process alive.

    Args:
        port: open, with `timeout` set to `READ_SLICE_S`.
        name: what errors call the port.
    """

    def __init__(self, port: serial.Serial, *, name: str) -> None:
        self._port = port
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._readable = asyncio.Event()
        self._error: str | None = None
        self._closed = False
        self._stop = threading.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"write {name}")
        self._reader = threading.Thread(target=self._pump, name=f"read {name}", daemon=True)
        self._reader.start()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        while True:
            if self._closed:
                raise self._lost("it was closed")
            if self._buffer:
                data = bytes(self._buffer[:max_bytes])
                del self._buffer[:max_bytes]
                return data
            if self._error is not None:
                raise self._lost(self._error)
            self._readable.clear()
            await self._readable.wait()

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        if self._closed or self._error is not None:
            raise self._lost(self._error or "it was closed")
        try:
            await self._loop.run_in_executor(self._writer, self._port.write, data)
        except (OSError, RuntimeError) as error:  # SerialException is an OSError
            raise self._lost(str(error)) from error

    async def close(self) -> None:
        """See `ByteStream.close`."""
        if self._closed:
            return
        self._closed = True
        self._stop.set()
        self._readable.set()
        await self._loop.run_in_executor(self._writer, self._shut)
        self._writer.shutdown(wait=True)

    def _shut(self) -> None:
        """Runs on the writer: end the reader, then close the port (both may block)."""
        self._reader.join()
        try:
            self._port.close()
        except (OSError, RuntimeError):
            return  # it is gone already

    def _pump(self) -> None:
        """Runs on the reader thread."""
        while not self._stop.is_set():
            if len(self._buffer) > BUFFER_LIMIT:
                self._stop.wait(READ_SLICE_S)
                continue
            try:
                data = self._port.read(max(1, self._port.in_waiting))
            except (OSError, RuntimeError, TypeError) as error:
                # pyserial's handlers raise TypeError when the socket vanishes under a read
                self._post(b"", str(error))
                return
            if data:
                self._post(data, None)

    def _post(self, data: bytes, error: str | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrive, data, error)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._stop.set()

    def _arrive(self, data: bytes, error: str | None) -> None:
        self._buffer += data
        if error is not None:
            self._error = error
        self._readable.set()

    def _lost(self, why: str) -> StreamLost:
        return StreamLost(
            f"the line on {self._name} broke",
            why=why,
            hint="check the terminal server and the network between it and this host.",
        )
