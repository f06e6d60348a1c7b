"""A TCP connection as a byte stream, on the event loop: `socket://HOST:PORT`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qsl, urlsplit

from cryofw.transport.inbox import Inbox
from cryofw.transport.stream import PortUnavailable, StreamLost, UnknownPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OPEN_LIMIT_S: Final = 5.0
CLOSE_LIMIT_S: Final = 1.0
# A gateway that lost its power says nothing: after this the kernel asks, and gives up.
_ALIVE_IDLE_S, _ALIVE_EVERY_S, _ALIVE_MISSES = 10, 5, 3


class TcpStream(asyncio.Protocol):
    """An open connection; made by `connect`.

    Args:
        name: what errors call the port.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inbox = Inbox()
        self._listener: tuple[Callable[[bytes], None], Callable[[StreamLost | None], None]]
        self._listener = self._inbox.put, self._inbox.end
        self._transport: asyncio.Transport | None = None
        self._held = False
        self._ended = False
        self._room = asyncio.Event()
        self._room.set()
        self._gone = asyncio.Event()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        data = await self._inbox.take(max_bytes)
        if self._held and not self._inbox.full and self._transport is not None:
            self._held = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        if self._transport is None or self._transport.is_closing():
            raise self._lost("it was closed")
        self._transport.write(data)
        if not self._room.is_set():
            await self._room.wait()
            if self._gone.is_set():
                raise self._lost("the connection ended")

    def listen(
        self, receive: Callable[[bytes], None], end: Callable[[StreamLost | None], None]
    ) -> None:
        """See `EventStream.listen`; what came before is passed on first."""
        self._listener = receive, end
        if early := self._inbox.drain():
            receive(early)
        if self._held and self._transport is not None:
            self._held = False
            self._transport.resume_reading()
        if self._inbox.ended:
            end(self._inbox.error)

    def write_now(self, data: bytes) -> int:
        """See `DirectWriter.write_now`; takes all or nothing."""
        if self._transport is None or self._transport.is_closing():
            raise self._lost("it was closed")
        if not self._room.is_set():
            return 0
        self._transport.write(data)
        return len(data)

    async def close(self) -> None:
        """See `ByteStream.close`; what is not sent yet has a moment left."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._listener = self._inbox.put, self._inbox.end  # who listened hears no end
        self._inbox.end(self._lost("it was closed"), discard=True)
        transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._gone.wait()
        transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        _watch(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._listener[0](data)
        if self._inbox.full and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`; the connection is closed on our side too."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        why = getattr(exc, "strerror", None) or str(exc)
        self._end(None if exc is None else self._lost(why))
        self._gone.set()
        self._room.set()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._room.set()

    def _end(self, error: StreamLost | None) -> None:
        if not self._ended:
            self._ended = True
            self._listener[1](error)

    def _lost(self, why: str) -> StreamLost:
        return StreamLost(
            f"the line on {self._name} broke",
            why=why,
            hint="check the terminal server and the network between it and this host.",
        )


async def connect(url: str, host: str, port: int) -> TcpStream:
    """Connect to a gateway.

    Raises:
        PortUnavailable: no connection within `OPEN_LIMIT_S`.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(OPEN_LIMIT_S):
            _, stream = await loop.create_connection(lambda: TcpStream(url), host, port)
    except TimeoutError as error:
        raise _unavailable(url, f"no connection within {OPEN_LIMIT_S:g} s") from error
    except OSError as error:
        # asyncio puts its own words about the address into strerror; the number says it plainly.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else str(error)
        raise _unavailable(url, why) from error
    return stream


def parse_tcp_url(url: str, options: Iterable[str] = ()) -> tuple[str, int, dict[str, str]]:
    """Return host, port and options of a `SCHEME://HOST:PORT?OPTION=VALUE` URL.

    Raises:
        UnknownPort: not such a URL, or another option than `options`.
    """
    scheme = url.partition("://")[0]
    form = f"the form is {scheme}://HOST:PORT"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        given = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError as error:
        raise UnknownPort(f"{url} is no usable port", why=str(error), hint=form) from error
    if not host or not port or parts.path.strip("/") or parts.fragment or parts.username:
        why = "it has no host, no port, or more than these"
        raise UnknownPort(f"{url} is no usable port", why=why, hint=form)
    for name in given:
        if name not in options:
            known = ", ".join(options) or "none"
            why = f"unknown option {name!r}, known: {known}"
            raise UnknownPort(f"{url} is no usable port", why=why, hint=form)
    return host, port, given


def _watch(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _ALIVE_IDLE_S),
        ("TCP_KEEPINTVL", _ALIVE_EVERY_S),
        ("TCP_KEEPCNT", _ALIVE_MISSES),
        # Unacknowledged data gives up as soon: keepalive does not count while some is under way.
        ("TCP_USER_TIMEOUT", 1000 * (_ALIVE_IDLE_S + _ALIVE_EVERY_S * _ALIVE_MISSES)),
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _unavailable(url: str, why: str) -> PortUnavailable:
    return PortUnavailable(
        f"cannot open {url}",
        why=why,
        hint="Check the host, the port number and that no one else is connected to it.",
    )
