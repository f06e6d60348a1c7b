"""An encrypted line as a byte stream, on the event loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from cryofw.transport.stream import ByteStream, PortUnavailable, StreamLost
from cryofw.transport.tls_errors import hung_up, tls_error
from cryofw.transport.tls_port import parse_tls_url

if TYPE_CHECKING:
    from cryofw.transport.tls_port import TlsPort

OPEN_LIMIT_S: Final = 10.0
VERDICT_WAIT_S: Final = 0.25
"""In TLS 1.3 a server refuses our certificate only after the handshake: so long we listen."""
CLOSE_LIMIT_S: Final = 1.0


class TlsOpener:
    """Opens `tls://HOST:PORT` (see `tls_port`); the bit rate is the gateway's business.

    Args:
        open_limit_s: for name, connection and handshake together.
    """

    def __init__(self, *, open_limit_s: float = OPEN_LIMIT_S) -> None:
        self._open_limit_s = open_limit_s

    async def open(self, url: str, *, baud: int) -> ByteStream:  # noqa: ARG002  # the port has it
        """See `Opener.open`.

        Raises:
            ChannelUntrusted: no line that could be trusted; waiting does not help.
        """
        port = parse_tls_url(url)
        context = port.context()
        try:
            async with asyncio.timeout(self._open_limit_s):
                reader, writer = await asyncio.open_connection(
                    port.host,
                    port.port,
                    ssl=context,
                    server_hostname=port.name,
                    ssl_shutdown_timeout=CLOSE_LIMIT_S,
                )
        except TimeoutError as error:
            raise PortUnavailable(
                f"cannot open {port.url}",
                why=f"no connection and handshake within {self._open_limit_s:g} s",
                hint="Check the host and the port number; does the gateway speak TLS there?",
            ) from error
        except OSError as error:
            raise tls_error(error, port) from error
        stream = TlsStream(reader, writer, port)
        try:
            await stream.hear_verdict()
        except BaseException:
            await stream.close()
            raise
        return stream


class TlsStream:
    """An open encrypted line."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: TlsPort
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._port = port
        self._ahead = b""
        self._closed = False

    async def hear_verdict(self) -> None:
        """Wait a moment for a refusal; what the device says meanwhile is kept for `read`.

        Raises:
            PortUnavailable: the gateway refused us, or hung up.
        """
        try:
            async with asyncio.timeout(VERDICT_WAIT_S):
                self._ahead = await self._reader.read(65536)
        except TimeoutError:
            return
        except OSError as error:
            raise tls_error(error, self._port) from error
        if not self._ahead:
            raise hung_up(self._port)

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        if self._closed:
            raise self._lost("it was closed")
        if self._ahead:
            data, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:]
            return data
        try:
            data = await self._reader.read(max_bytes)
        except OSError as error:
            raise self._broken(error) from error
        if not data and self._closed:
            raise self._lost("it was closed")
        return data

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        if self._closed or self._writer.is_closing():
            raise self._lost("it was closed")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise self._broken(error) from error

    async def close(self) -> None:
        """See `ByteStream.close`."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
        finally:
            self._reader.feed_eof()  # wakes who is still reading

    def _broken(self, error: OSError) -> StreamLost:
        if isinstance(error, ssl.SSLError):
            explained = tls_error(error, self._port)
            return StreamLost(explained.what, why=explained.why, hint=explained.hint)
        return self._lost(error.strerror or str(error) or type(error).__name__)

    def _lost(self, why: str) -> StreamLost:
        return StreamLost(
            f"the line on {self._port.url} broke",
            why=why,
            hint="check the gateway and the network between it and this host.",
        )
