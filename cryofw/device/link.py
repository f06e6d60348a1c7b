"""The line to one device: opened, opened again, shared in turns, silent when it must be."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cryofw.device.errors import DeviceSilent, DeviceUnreachable
from cryofw.device.framing_probe import FramingProbe
from cryofw.device.line import DeviceLine
from cryofw.device.rejection import passes_by_itself, rejection
from cryofw.device.slots import Slots
from cryofw.smp import RESYNC_S, Framing, encode_body
from cryofw.transport import StreamLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cryofw.clock import Clock
    from cryofw.device.link_record import DeviceLogLine, LinkCounts
    from cryofw.device.session import Session
    from cryofw.device.target import Target
    from cryofw.smp import Request, Response
    from cryofw.transport import Opener

__all__ = ["Link"]

# Timers closer than the loop's resolution fire at once: waiting for less would spin.
_TIME_STEP_S = 1e-6
LONGEST_TIMEOUT_S = 60.0
# Header, length and CRC around a body, and a margin for the marks of the lines.
_AROUND = 16
# Start bit, 8 data bits, stop bit; and base64 makes 4 characters of 3 bytes.
_BITS_PER_BYTE = 10 * 4 / 3


class Link:
    """Carries requests to one device over as many connections as it takes.

    One request is in flight at a time, for a device with one buffer would drop a second one; while
    an upload has proven that more arrive, as many as its window.
    """

    def __init__(self, target: Target, opener: Opener, clock: Clock) -> None:
        self._target = target
        self._clock = clock
        self._line = DeviceLine(target, opener, clock)
        self._probe = FramingProbe(target, self._line, clock)
        self._closes = 0
        self._quiet_until = float("-inf")
        self._quiets = 0
        self._transit_s: float | None = None
        self._slots = Slots()

    @property
    def counts(self) -> LinkCounts:
        """What the line cost so far."""
        return self._line.counts

    @property
    def log_lines(self) -> tuple[DeviceLogLine, ...]:
        """The last lines that the device printed, see `DeviceLog`."""
        return self._line.log_lines

    @property
    def connection(self) -> int:
        """Counts the connections: what was proven on one need not hold on the next."""
        return self._line.connection

    @property
    def line(self) -> DeviceLine:
        """The port and what came over it."""
        return self._line

    @property
    def slots(self) -> Slots:
        """Who may have a request under way."""
        return self._slots

    @property
    def transit_s(self) -> float:
        """The shortest round trip so far, without the time that its bytes took on the line."""
        return self._transit_s or 0.0

    @property
    def quiets(self) -> int:
        """Counts the silences: after one the device may have booted."""
        return self._quiets

    @property
    def quiet_left_s(self) -> float:
        """Seconds until something may be sent again."""
        return max(0.0, self._quiet_until - self._clock.monotonic())

    def keep_quiet(self, seconds: float) -> None:
        """Let nothing be sent for `seconds`: every request waits until they are over."""
        self._quiets += 1
        self._quiet_until = max(self._quiet_until, self._clock.monotonic() + seconds)

    def end_quiet(self) -> None:
        """Let requests go out again at once: to meet a bootloader in its moment."""
        self._quiet_until = float("-inf")

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Let nothing be sent inside this block; what is under way ends first."""
        async with self._slots.hold(alone=True):
            yield

    async def open(self, *, patience_s: float | None = None) -> None:
        """Open the port if it is not open, waiting up to `patience_s` for it to come back.

        Raises:
            DeviceUnreachable: it cannot be opened.
            UnknownPort: no such kind of port.
        """
        if self._line.is_open:
            return
        async with self._slots.hold(alone=True):
            await self._line.session(patience_s)

    async def close(self) -> None:
        """Give the port back; a request under way fails, a later one opens it again."""
        self._closes += 1
        await self._line.close()

    async def request(
        self,
        request: Request,
        *,
        timeout_s: float | None = None,
        attempts: int | None = None,
        patience_s: float | None = None,
        quiet_after_s: float = 0.0,
        connection: int | None = None,
        alone: bool = False,
    ) -> Response:
        """Send a request and return the answer, which may be a refusal.

        With more than one attempt the request must be one that may be carried out twice: each
        attempt has its own sequence number, and an answer to an earlier one is dropped.

        Args:
            request: what to ask.
            timeout_s: for the first attempt; doubles with each. The target's if left out.
            attempts: the target's retries + 1 if left out.
            patience_s: for a port that is away. The target's if left out.
            quiet_after_s: keep quiet so long once it may have arrived, unless it was refused.
            connection: send it on this connection only (see `connection`).
            alone: with nothing else under way, as all that keeps quiet afterwards.

        Raises:
            DeviceSilent: no answer to the last attempt.
            ConnectionChanged: `connection` is over.
            DeviceUnreachable: the port cannot be opened, or the line broke in the last attempt.
        """
        answer, _ = await self.exchange(
            request,
            timeout_s=timeout_s,
            attempts=attempts,
            patience_s=patience_s,
            quiet_after_s=quiet_after_s,
            connection=connection,
            alone=alone,
        )
        return answer

    async def exchange(
        self,
        request: Request,
        *,
        timeout_s: float | None = None,
        attempts: int | None = None,
        patience_s: float | None = None,
        quiet_after_s: float = 0.0,
        connection: int | None = None,
        alone: bool = False,
    ) -> tuple[Response, float]:
        """As `request`; return the round trip of the last attempt in seconds too."""
        attempts = attempts if attempts is not None else self._target.retries.count + 1
        wait_s = timeout_s if timeout_s is not None else self._target.timeouts.request_s
        async with self._slots.hold(alone=alone or quiet_after_s > 0):
            closes = self._closes
            for attempt in range(1, attempts + 1):
                try:
                    session = await self.session_for(connection, patience_s)
                    started = self._clock.monotonic()
                    # Who sets a time of its own knocks at a moment, and has none for questions.
                    answer = await self._try_both(
                        session, request, wait_s, quiet_after_s, may_probe=timeout_s is None
                    )
                except (DeviceSilent, DeviceUnreachable) as error:
                    over = attempt == attempts or closes != self._closes
                    if over or not _worth_repeating(error):
                        raise
                    if isinstance(error, DeviceUnreachable):
                        await self._clock.sleep(self._target.retries.backoff_s)
                else:
                    if attempt == attempts or not passes_by_itself(answer.error):
                        return answer, self._measure(started, request, answer)
                    await self._clock.sleep(self._target.retries.backoff_s)
                self._line.count(repeats=1)
                wait_s = min(2 * wait_s, max(wait_s, LONGEST_TIMEOUT_S))
        raise AssertionError("attempts is at least 1")

    async def ask(
        self,
        request: Request,
        doing: str,
        *,
        timeout_s: float | None = None,
        attempts: int | None = None,
        connection: int | None = None,
        alone: bool = False,
    ) -> Mapping[str, object]:
        """Send a request and return the body of the answer; arguments as for `request`.

        Raises:
            RequestFailed: the device refused; `doing` ("read the image state") says what.
            DeviceSilent, DeviceUnreachable: as `request`.
        """
        answer = await self.request(
            request, timeout_s=timeout_s, attempts=attempts, connection=connection, alone=alone
        )
        if answer.error is not None:
            raise rejection(self._target.name, doing, answer.error)
        return answer.body

    def count_repeat(self) -> None:
        """Count a request that is sent again after its effect was looked for."""
        self._line.count(repeats=1)

    async def _try_both(
        self,
        session: Session,
        request: Request,
        wait_s: float,
        quiet_after_s: float,
        *,
        may_probe: bool,
    ) -> Response:
        """Try, and once more if the device turns out to speak in the other framing."""
        try:
            return await self._try(session, request, wait_s, quiet_after_s)
        except DeviceSilent:
            if not may_probe or quiet_after_s or not await self._probe.finds_other(session):
                raise
        return await self._try(session, request, wait_s, quiet_after_s)

    async def _try(
        self, session: Session, request: Request, wait_s: float, quiet_after_s: float
    ) -> Response:
        wire_s = self.wire_s(len(encode_body(request.body)) + _AROUND)
        if self._line.framing is Framing.RAW:
            # Sooner it would be taken for the rest of what was damaged on the way.
            wait_s = max(wait_s, RESYNC_S)
        self._line.count(requests=1)
        answer = None
        try:
            answer = await session.exchange(request, timeout_s=wait_s + wire_s)
        except TimeoutError:
            raise DeviceSilent(
                f"{self._target.name} does not answer",
                why=f"no answer on {self._target.port} within {wait_s + wire_s:.1f} s",
                hint="is it powered, is the baud rate right, and did its firmware hang?",
            ) from None
        except StreamLost as error:
            await self._line.drop(session)
            raise self._line.broken(error) from error
        finally:
            # Before the next request gets its turn, and also when the caller was cancelled.
            if quiet_after_s and (answer is None or answer.error is None):
                self.keep_quiet(quiet_after_s)
        return answer

    def _measure(self, started: float, request: Request, answer: Response) -> float:
        took_s = self._clock.monotonic() - started
        size = len(encode_body(request.body)) + 2 * _AROUND + len(answer.message.payload)
        transit_s = max(0.0, took_s - self.wire_s(size))
        if self._transit_s is None or transit_s < self._transit_s:
            self._transit_s = transit_s
        return took_s

    def wire_s(self, size: int) -> float:
        """Seconds that a message of `size` bytes takes on the line at most."""
        return size * _BITS_PER_BYTE / self._target.baud

    async def session_for(self, connection: int | None, patience_s: float | None = None) -> Session:
        """Wait for the end of the silence, and return the open session.

        Raises:
            ConnectionChanged: it is another one than `connection`.
            DeviceUnreachable: the port cannot be opened.
        """
        while self.quiet_left_s > _TIME_STEP_S:
            await self._clock.sleep(self.quiet_left_s)
        session = await self._line.session(patience_s)
        if connection is not None:
            self._line.require_connection(connection)
        return session


def _worth_repeating(error: DeviceSilent | DeviceUnreachable) -> bool:
    """A port that stayed away for the whole patience is not tried again at once."""
    return isinstance(error, DeviceSilent) or error.sent
