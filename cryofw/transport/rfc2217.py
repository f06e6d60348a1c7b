"""`rfc2217://HOST:PORT`: a serial port behind a terminal server, with bit rate and DTR/RTS.

    rfc2217://term.lab:4001
    rfc2217://term.lab:4001?timeout=10&ign_set_control

The options are pyserial's: `timeout` is how many seconds an answer of the server may take, and
`ign_set_control` is for servers that do not answer orders for DTR and RTS.

Opening sets the bit rate, 8N1 and no flow control, and leaves DTR and RTS alone: their edge
resets many boards. What the server itself does with them when somebody connects is its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cryofw.transport.stream import NoControlLines, PortUnavailable, StreamLost, UnknownPort
from cryofw.transport.tcp_stream import TcpStream, connect, parse_tcp_url
from cryofw.transport.telnet import ComPort, Control, TelnetClient, escape

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_LIMIT_S: Final = 3.0
_LINES: Final = ((Control.DTR_ON, Control.DTR_OFF), (Control.RTS_ON, Control.RTS_OFF))
_MODES = (
    (ComPort.SET_DATASIZE, b"\x08"),
    (ComPort.SET_PARITY, b"\x01"),
    (ComPort.SET_STOPSIZE, b"\x01"),
    (ComPort.SET_CONTROL, bytes((Control.NO_FLOW_CONTROL,))),
    # Nobody reads what the server would tell of them.
    (ComPort.SET_LINESTATE_MASK, b"\x00"),
    (ComPort.SET_MODEMSTATE_MASK, b"\x00"),
)


async def open_rfc2217(url: str, *, baud: int) -> Rfc2217Stream:
    """Connect, agree on RFC 2217, set the bit rate.

    Raises:
        PortUnavailable: no connection, no RFC 2217 there, or another bit rate than wanted.
        UnknownPort: not such a URL.
    """
    host, port, options = parse_tcp_url(url, ("timeout", "ign_set_control"))
    try:
        limit_s = float(options.get("timeout", ANSWER_LIMIT_S))
    except ValueError as error:
        raise UnknownPort(f"{url} is no usable port", why="timeout is not a number") from error
    if not 0 < baud < 1 << 32:
        raise PortUnavailable(f"cannot open {url}", why=f"{baud} bit/s is no bit rate")
    stream = Rfc2217Stream(
        await connect(url, host, port),
        url,
        limit_s=limit_s,
        acknowledged="ign_set_control" not in options,
    )
    try:
        await stream.negotiate(baud)
    except StreamLost as error:
        await stream.close()
        raise PortUnavailable(f"cannot open {url}", why=error.why, hint=error.hint) from error
    except BaseException:
        await stream.close()
        raise
    return stream


class Rfc2217Stream:
    """An open port; everything runs on the event loop."""

    def __init__(
        self, connection: TcpStream, url: str, *, limit_s: float, acknowledged: bool
    ) -> None:
        self._connection = connection
        self._url = url
        self._limit_s = limit_s
        self._acknowledged = acknowledged
        self._telnet = TelnetClient()
        self._ahead = bytearray()
        self._listening = False
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()

    async def negotiate(self, baud: int) -> None:
        """Agree with the server, and set bit rate and mode.

        Raises:
            PortUnavailable: it does not speak RFC 2217, or refuses the bit rate.
            StreamLost: the connection broke.
        """
        telnet = self._telnet
        await self._send_orders()
        agreed = await self._until(
            lambda: telnet.com_port is not None and telnet.binary is not None
        )
        if not agreed or not telnet.com_port or not telnet.binary:
            raise self._no_rfc2217("it refused" if agreed else "it agrees to nothing")
        telnet.command(ComPort.SET_BAUDRATE, baud.to_bytes(4, "big"))
        for command, value in _MODES:
            telnet.command(command, value)
        await self._send_orders()
        await self._until(lambda: ComPort.SET_BAUDRATE in telnet.answers)
        answer = telnet.answers.get(ComPort.SET_BAUDRATE)
        if answer is None:
            raise self._no_rfc2217("it does not answer the order for a bit rate")
        if int.from_bytes(answer, "big") != baud:
            raise PortUnavailable(
                f"{self._url} does not take {baud} bit/s",
                why=f"it answered {int.from_bytes(answer, 'big')} bit/s",
                hint="set a bit rate that the server's port has.",
            )

    async def read(self, max_bytes: int = 65536) -> bytes:
        """See `ByteStream.read`."""
        while not self._ahead:
            if not await self._receive():
                return b""
        data = bytes(self._ahead[:max_bytes])
        del self._ahead[:max_bytes]
        return data

    async def write(self, data: bytes) -> None:
        """See `ByteStream.write`; waits while the server has asked for a pause."""
        if self._telnet.suspended:
            # Like XOFF on a line: whoever forgets the XON is found out by the request's time-out.
            await self._until(lambda: not self._telnet.suspended)
        await self._connection.write(escape(data))

    def listen(
        self, receive: Callable[[bytes], None], end: Callable[[StreamLost | None], None]
    ) -> None:
        """See `EventStream.listen`."""

        def take(data: bytes) -> None:
            plain = self._telnet.receive(data)
            if orders := self._telnet.to_send():
                self._connection.write_now(orders)
            self._news.set()
            if plain:
                receive(plain)

        self._listening = True
        if self._ahead:
            early = bytes(self._ahead)
            self._ahead.clear()
            receive(early)
        self._connection.listen(take, end)

    def write_now(self, data: bytes) -> int:
        """See `DirectWriter.write_now`; takes all or nothing."""
        if self._telnet.suspended:
            return 0
        return len(data) if self._connection.write_now(escape(data)) else 0

    async def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """See `ControlLines.set_lines`; RFC 2217 has no order for both at once."""
        orders = []
        if dtr is not None:
            orders.append(Control.DTR_ON if dtr else Control.DTR_OFF)
        if rts is not None:
            orders.append(Control.RTS_ON if rts else Control.RTS_OFF)
        for order in orders:
            self._telnet.command(ComPort.SET_CONTROL, bytes((order,)))
            await self._send_orders()
            if self._acknowledged:
                await self._require_obeyed(order)

    async def _require_obeyed(self, order: Control) -> None:
        # The answer to the order for no flow control, given when it was opened, may be late.
        answered = await self._until(lambda: self._state_of(order) is not None)
        if self._state_of(order) != order:
            name = order.name.replace("_", " ")
            raise NoControlLines(
                f"{self._url} does not set {name}",
                why="it refused" if answered else f"no answer within {self._limit_s:g} s",
                hint="if the server never answers such orders, add ?ign_set_control.",
            )

    def _state_of(self, order: Control) -> Control | None:
        """The state of the line that an order is about, as last answered; None: not answered."""
        answer = self._telnet.answers.get(ComPort.SET_CONTROL)
        states = next(line for line in _LINES if order in line)
        return next((state for state in states if answer == bytes((state,))), None)

    async def close(self) -> None:
        """See `ByteStream.close`."""
        await self._connection.close()
        self._news.set()

    def _no_rfc2217(self, why: str) -> PortUnavailable:
        return PortUnavailable(
            f"what answers at {self._url} does not speak RFC 2217",
            why=f"{why} ({self._limit_s:g} s allowed)",
            hint="is it the right port? A raw one is socket://HOST:PORT. ser2net: "
            "`accepter: telnet(rfc2217),tcp,PORT`.",
        )

    async def _receive(self) -> bool:
        """Take bytes off the connection, or wait until someone else has; False at its end."""
        if self._listening or self._reading.locked():
            self._news.clear()
            await self._news.wait()
            return True
        try:
            async with self._reading:
                data = await self._connection.read()
                self._ahead += self._telnet.receive(data)
                await self._send_orders()
        finally:
            self._news.set()
        return bool(data)

    async def _until(self, done: Callable[[], bool]) -> bool:
        """Wait for an answer, for as long as one may take; return whether it came."""
        try:
            async with asyncio.timeout(self._limit_s):
                while not done():
                    if not await self._receive():
                        raise StreamLost(
                            f"the line on {self._url} broke",
                            why="the server closed it",
                            hint="is another program connected to it?",
                        )
        except TimeoutError:
            return False
        return True

    async def _send_orders(self) -> None:
        orders = self._telnet.to_send()
        if orders:
            await self._connection.write(orders)
