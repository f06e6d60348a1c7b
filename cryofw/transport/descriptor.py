"""A file descriptor of a terminal device as a byte stream, on the event loop's own readiness."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from typing import TYPE_CHECKING

from cryofw.transport.inbox import Inbox
from cryofw.transport.stream import NoControlLines, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 65536


class DescriptorStream:
    """A non-blocking descriptor; no thread, no polling.

    The loop watches it from the first read to the end, so that bytes cost one wake-up and one
    read; while nobody takes them it is left alone (`Inbox.full`).

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
        self._inbox = Inbox()
        self._listener: tuple[Callable[[bytes], None], Callable[[StreamLost | None], None]]
        self._listener = self._inbox.put, self._inbox.end
        self._watched: asyncio.AbstractEventLoop | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._looks_away = False
        self._writing: set[asyncio.Future[None]] = set()

    async def read(self, max_bytes: int = _READ_BYTES) -> bytes:
        """See `ByteStream.read`."""
        if self._watched is None and not self._inbox.ended and not self._inbox.full:
            self._watched = asyncio.get_running_loop()
            self._watched.add_reader(self._open_descriptor(), self._receive)
        return await self._inbox.take(max_bytes)

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        rest = memoryview(data)
        while rest:
            descriptor = self._open_descriptor()
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                try:
                    async with asyncio.timeout(self._stall_s):
                        await self._writable(descriptor)
                except TimeoutError:
                    return
            except OSError as error:
                raise self._lost(error) from error

    def listen(
        self, receive: Callable[[bytes], None], end: Callable[[StreamLost | None], None]
    ) -> None:
        """See `EventStream.listen`."""
        self._listener = receive, end
        if self._watched is None:
            self._watched = asyncio.get_running_loop()
            self._watched.add_reader(self._open_descriptor(), self._receive)

    def write_now(self, data: bytes) -> int:
        """See `DirectWriter.write_now`."""
        try:
            return os.write(self._open_descriptor(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error) from error

    def rest(self, seconds: float) -> None:
        """See `RestingReader.rest`; while one rest follows another, the loop's poll is left out."""
        if self._watched is None or self._rest is not None:
            return
        if not self._looks_away:
            self._watched.remove_reader(self._open_descriptor())
            self._looks_away = True
        self._rest = self._watched.call_later(seconds, self._look)

    def end_rest(self) -> None:
        """See `RestingReader.end_rest`."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
            self._watch_again()

    async def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """See `ControlLines.set_lines`; both change in one system call."""
        import fcntl
        import termios

        descriptor = self._open_descriptor()
        try:
            levels = fcntl.ioctl(descriptor, termios.TIOCMGET, bytes(4))
            (bits,) = struct.unpack("I", levels)
            for bit, level in ((termios.TIOCM_DTR, dtr), (termios.TIOCM_RTS, rts)):
                if level is not None:
                    bits = bits | bit if level else bits & ~bit
            fcntl.ioctl(descriptor, termios.TIOCMSET, struct.pack("I", bits))
        except OSError as error:
            raise NoControlLines(
                f"{self._name} has no DTR and RTS that could be set",
                why=error.strerror or str(error),
                hint="a pty has none; a serial adapter has them unless it is gone.",
            ) from error

    async def close(self) -> None:
        """See `ByteStream.close`."""
        if self._descriptor is None:
            return
        self._unwatch()
        self._descriptor = None
        self._inbox.end(self._closed(), discard=True)
        for future in list(self._writing):
            _settle(future)
        # The writers take their descriptor out of the loop before the number can be used again.
        await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            self._on_close()

    def _receive(self) -> None:
        """Runs when the loop finds bytes, or the end of the line."""
        assert self._descriptor is not None
        receive, end = self._listener
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._unwatch()
            end(self._lost(error))
            return
        if not data:
            self._unwatch()
            end(None)
            return
        receive(data)
        if self._inbox.full:
            self._unwatch()

    def _look(self) -> None:
        """Runs when a rest is over; who is told of the bytes may begin another."""
        self._rest = None
        self._receive()
        if self._rest is None:
            self._watch_again()

    def _watch_again(self) -> None:
        if self._looks_away and self._watched is not None:
            self._watched.add_reader(self._open_descriptor(), self._receive)
        self._looks_away = False

    def _unwatch(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._watched is not None and self._descriptor is not None:
            self._watched.remove_reader(self._descriptor)
        self._watched = None
        self._looks_away = False

    async def _writable(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._writing.add(future)
        loop.add_writer(descriptor, _settle, future)
        try:
            await future
        finally:
            loop.remove_writer(descriptor)
            self._writing.discard(future)

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise self._closed()
        return self._descriptor

    def _closed(self) -> StreamLost:
        return StreamLost(f"{self._name} is lost", why="it was closed")

    def _lost(self, error: OSError) -> StreamLost:
        return StreamLost(
            f"the line on {self._name} broke",
            why=error.strerror or str(error),
            hint="check the cable and the adapter's power; `dmesg` says whether it disconnected.",
        )


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
