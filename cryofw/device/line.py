"""The port of one device: opened, opened again when it is back, and what came over it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.device.device_log import DeviceLog
from cryofw.device.errors import ConnectionChanged, DeviceUnreachable
from cryofw.device.link_record import LinkCounts
from cryofw.device.session import Session
from cryofw.smp import BadFrame, Framing, LogLine, Response, StaleResponse
from cryofw.transport import (
    NoControlLines,
    PortUnavailable,
    StreamLost,
    open_when_back,
    parse_line_steps,
    play,
    rest_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.clock import Clock
    from cryofw.device.link_record import DeviceLogLine
    from cryofw.device.target import Target
    from cryofw.smp import ClientEvent
    from cryofw.transport import ByteStream, LineStep, Opener


class DeviceLine:
    """Keeps one session on the port of `target`, and counts what it takes."""

    def __init__(self, target: Target, opener: Opener, clock: Clock) -> None:
        self._target = target
        self._opener = opener
        self._clock = clock
        self._session: Session | None = None
        self._stream: ByteStream | None = None
        self._rest = rest_of(parse_line_steps(target.reset_lines))
        self._next_seq = 0
        self._connection = 0
        self._framing = target.framing or Framing.CONSOLE
        self._console_heard = False
        self._opening = asyncio.Lock()
        self._log = DeviceLog()
        self._counts = LinkCounts()

    @property
    def counts(self) -> LinkCounts:
        """What the line cost so far."""
        return self._counts

    @property
    def log_lines(self) -> tuple[DeviceLogLine, ...]:
        """The last lines that the device printed, see `DeviceLog`."""
        return self._log.lines

    @property
    def connection(self) -> int:
        """Counts the connections."""
        return self._connection

    @property
    def framing(self) -> Framing:
        """How messages lie on the line, as far as is known; kept over connections."""
        return self._framing

    @property
    def console_heard(self) -> bool:
        """A framed message or a log line has come: this is a console."""
        return self._console_heard

    def speak(self, session: Session, framing: Framing) -> None:
        """Let `session` and those after it use this framing."""
        self._framing = framing
        session.speak(framing)

    @property
    def is_open(self) -> bool:
        """There is a session that is not lost."""
        return self._session is not None and not self._session.lost

    async def session(self, patience_s: float | None = None) -> Session:
        """Return the session, opening the port if need be.

        Raises:
            DeviceUnreachable: it cannot be opened.
            UnknownPort: no such kind of port.
        """
        async with self._opening:
            if self._session is not None and self._session.lost:
                await self.drop(self._session)
            if self._session is None:
                self._stream = stream = await self._open_stream(patience_s)
                self._session = Session(
                    stream,
                    first_seq=self._next_seq,
                    on_event=self._take,
                    framing=self._framing,
                )
                if self._connection:
                    self.count(reopens=1)
                self._connection += 1
            return self._session

    async def play(self, steps: Iterable[LineStep]) -> None:
        """Do steps on DTR and RTS of the port, opening it if need be.

        Raises:
            DeviceUnreachable: it cannot be opened.
            NoControlLines, StreamLost: as `transport.play`.
        """
        await self.session()
        assert self._stream is not None
        await play(self._stream, steps, self._clock.sleep)

    def require_connection(self, connection: int) -> None:
        """Refuse another connection than this one.

        Raises:
            ConnectionChanged: `connection` is over.
        """
        if connection != self._connection:
            raise ConnectionChanged(
                f"the port of {self._target.name} was opened anew",
                why="the device on it must be identified again before it is changed",
                hint="try again; if it happens often, check the cable and the adapter.",
            )

    async def close(self) -> None:
        """Give the port back."""
        if self._session is not None:
            await self.drop(self._session)

    async def drop(self, session: Session) -> None:
        """Close `session`; if it was the present one, the next request opens another."""
        if self._session is session:
            self._session = None
            self._next_seq = session.next_seq
        await session.close()

    def broken(self, error: StreamLost) -> DeviceUnreachable:
        """What to raise when the line broke under a request that may have arrived."""
        return DeviceUnreachable(
            f"the line to {self._target.name} broke",
            why=str(error),
            hint=error.hint or "Check the cable, the adapter, and who else uses the port.",
            sent=True,
        )

    def count(self, **more: int) -> None:
        """Add to the counts of these names (see `LinkCounts`)."""
        now = {name: getattr(self._counts, name) + number for name, number in more.items()}
        self._counts = replace(self._counts, **now)

    async def _open_stream(self, patience_s: float | None) -> ByteStream:
        target = self._target
        try:
            stream = await open_when_back(
                self._opener,
                target.port,
                baud=target.baud,
                clock=self._clock,
                patience_s=target.timeouts.reopen_s if patience_s is None else patience_s,
                first_wait_s=target.retries.backoff_s,
                on_retry=lambda: self.count(reopens=1),
            )
        except PortUnavailable as error:
            raise DeviceUnreachable(
                f"{target.name} cannot be reached",
                why=str(error),
                hint=error.hint or "Is it plugged in and powered?",
            ) from error
        if target.reset_lines:
            await self._let_go(stream)
        return stream

    async def _let_go(self, stream: ByteStream) -> None:
        """Bring DTR and RTS to rest, and wait: opening has moved them, and so reset the board."""
        try:
            await play(stream, (self._rest,), self._clock.sleep)
            await self._clock.sleep(self._target.boot_time_s)
        except (NoControlLines, StreamLost) as error:
            await stream.close()
            raise DeviceUnreachable(
                f"{self._target.name} cannot be let out of reset",
                why=str(error),
                hint=error.hint,
            ) from error
        except BaseException:
            await stream.close()
            raise

    def _take(self, event: ClientEvent) -> None:
        if self._framing is Framing.CONSOLE and _shows_console(event):
            self._console_heard = True
        if isinstance(event, LogLine):
            self._log.add(self._clock.now(), event.text)
        elif isinstance(event, StaleResponse):
            self.count(stale_answers=1)
        elif isinstance(event, BadFrame):
            self.count(damaged_frames=1)


def _shows_console(event: ClientEvent) -> bool:
    """A framed message, damaged or not, or a line of text; noise shows nothing."""
    if isinstance(event, LogLine):
        return len(event.data) > 3 and event.text.isprintable()
    return isinstance(event, Response | StaleResponse | BadFrame)
