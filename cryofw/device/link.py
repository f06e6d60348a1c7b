"""The line to one device: opened, opened again, one request at a time, silent when it must be."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cryofw.device.errors import ConnectionChanged, DeviceSilent, DeviceUnreachable
from cryofw.device.link_record import DeviceLogLine, LinkCounts
from cryofw.device.rejection import rejection
from cryofw.device.session import Session
from cryofw.smp import BadFrame, LogLine, MgmtCode, Response, StaleResponse, encode_body
from cryofw.transport import PortUnavailable, StreamLost, open_when_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cryofw.clock import Clock
    from cryofw.device.target import Target
    from cryofw.smp import ClientEvent, Request
    from cryofw.transport import ByteStream, Opener

LOG_LINES_KEPT = 1000
# Timers closer than the loop's resolution fire at once: waiting for less would spin.
_TIME_STEP_S = 1e-6
_PASSING = frozenset((MgmtCode.NO_MEMORY, MgmtCode.BUSY, MgmtCode.TIMEOUT))
LONGEST_TIMEOUT_S = 60.0
# Start bit, 8 data bits, stop bit; and base64 makes 4 characters of 3 bytes.
_BITS_PER_BYTE = 10 * 4 / 3


class Link:
    """Carries requests to one device over as many connections as it takes.

    One request is in flight at a time: a device with one buffer would drop a second one.
    """

    def __init__(self, target: Target, opener: Opener, clock: Clock) -> None:
        self._target = target
        self._opener = opener
        self._clock = clock
        self._session: Session | None = None
        self._next_seq = 0
        self._connection = 0
        self._closes = 0
        self._quiet_until = float("-inf")
        self._turn = asyncio.Lock()
        self._log: deque[DeviceLogLine] = deque(maxlen=LOG_LINES_KEPT)
        self._counts = LinkCounts()

    @property
    def counts(self) -> LinkCounts:
        """What the line cost so far."""
        return self._counts

    @property
    def log_lines(self) -> tuple[DeviceLogLine, ...]:
        """The last `LOG_LINES_KEPT` lines that the device printed."""
        return tuple(self._log)

    @property
    def connection(self) -> int:
        """Counts the connections: what was proven on one need not hold on the next."""
        return self._connection

    @property
    def quiet_left_s(self) -> float:
        """Seconds until something may be sent again."""
        return max(0.0, self._quiet_until - self._clock.monotonic())

    def keep_quiet(self, seconds: float) -> None:
        """Let nothing be sent for `seconds`: every request waits until they are over."""
        self._quiet_until = max(self._quiet_until, self._clock.monotonic() + seconds)

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Let nothing be sent inside this block; what is under way ends first."""
        async with self._turn:
            yield

    async def open(self, *, patience_s: float | None = None) -> None:
        """Open the port if it is not open, waiting up to `patience_s` for it to come back.

        Raises:
            DeviceUnreachable: it cannot be opened.
            UnknownPort: no such kind of port.
        """
        async with self._turn:
            await self._ensure_session(patience_s)

    async def close(self) -> None:
        """Give the port back; a request under way fails, a later one opens it again."""
        self._closes += 1
        await self._drop()

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._next_seq = session.next_seq
            await session.close()

    async def request(
        self,
        request: Request,
        *,
        timeout_s: float | None = None,
        attempts: int | None = None,
        patience_s: float | None = None,
        quiet_after_s: float = 0.0,
        connection: int | None = None,
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
    ) -> tuple[Response, float]:
        """As `request`; return the round trip of the last attempt in seconds too."""
        attempts = attempts if attempts is not None else self._target.retries.count + 1
        wait_s = timeout_s if timeout_s is not None else self._target.timeouts.request_s
        async with self._turn:
            closes = self._closes
            for attempt in range(1, attempts + 1):
                try:
                    session = await self._session_for(connection, patience_s)
                    started = self._clock.monotonic()
                    answer = await self._try(session, request, wait_s, quiet_after_s)
                except (DeviceSilent, DeviceUnreachable) as error:
                    over = attempt == attempts or closes != self._closes
                    if over or not _worth_repeating(error):
                        raise
                    if isinstance(error, DeviceUnreachable):
                        await self._clock.sleep(self._target.retries.backoff_s)
                else:
                    if attempt == attempts or not _passes_by_itself(answer):
                        return answer, self._clock.monotonic() - started
                    await self._clock.sleep(self._target.retries.backoff_s)
                self._count(repeats=1)
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
    ) -> Mapping[str, object]:
        """Send a request and return the body of the answer; arguments as for `request`.

        Raises:
            RequestFailed: the device refused; `doing` ("read the image state") says what.
            DeviceSilent, DeviceUnreachable: as `request`.
        """
        answer = await self.request(
            request, timeout_s=timeout_s, attempts=attempts, connection=connection
        )
        if answer.error is not None:
            raise rejection(self._target.name, doing, answer.error)
        return answer.body

    def count_repeat(self) -> None:
        """Count a request that is sent again after its effect was looked for."""
        self._count(repeats=1)

    async def _try(
        self, session: Session, request: Request, wait_s: float, quiet_after_s: float
    ) -> Response:
        wire_s = (len(encode_body(request.body)) + 16) * _BITS_PER_BYTE / self._target.baud
        self._count(requests=1)
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
            await self._drop()
            raise DeviceUnreachable(
                f"the line to {self._target.name} broke",
                why=str(error),
                hint=error.hint or "Check the cable, the adapter, and who else uses the port.",
                sent=True,
            ) from error
        finally:
            # Before the next request gets its turn, and also when the caller was cancelled.
            if quiet_after_s and (answer is None or answer.error is None):
                self.keep_quiet(quiet_after_s)
        return answer

    async def _session_for(self, connection: int | None, patience_s: float | None) -> Session:
        while self.quiet_left_s > _TIME_STEP_S:
            await self._clock.sleep(self.quiet_left_s)
        session = await self._ensure_session(patience_s)
        if connection is not None and connection != self._connection:
            raise ConnectionChanged(
                f"the port of {self._target.name} was opened anew",
                why="the device on it must be identified again before it is changed",
                hint="try again; if it happens often, check the cable and the adapter.",
            )
        return session

    async def _ensure_session(self, patience_s: float | None) -> Session:
        if self._session is not None and self._session.lost:
            await self._drop()
        if self._session is None:
            stream = await self._open_stream(patience_s)
            self._session = Session(stream, first_seq=self._next_seq, on_event=self._take)
            if self._connection:
                self._count(reopens=1)
            self._connection += 1
        return self._session

    async def _open_stream(self, patience_s: float | None) -> ByteStream:
        target = self._target
        try:
            return await open_when_back(
                self._opener,
                target.port,
                baud=target.baud,
                clock=self._clock,
                patience_s=target.timeouts.reopen_s if patience_s is None else patience_s,
                first_wait_s=target.retries.backoff_s,
                on_retry=lambda: self._count(reopens=1),
            )
        except PortUnavailable as error:
            raise DeviceUnreachable(
                f"{target.name} cannot be reached",
                why=str(error),
                hint=error.hint or "Is it plugged in and powered?",
            ) from error

    def _take(self, event: ClientEvent) -> None:
        if isinstance(event, LogLine):
            self._log.append(DeviceLogLine(self._clock.now(), event.text))
        elif isinstance(event, StaleResponse):
            self._count(stale_answers=1)
        elif isinstance(event, BadFrame):
            self._count(damaged_frames=1)

    def _count(self, **more: int) -> None:
        now = {name: getattr(self._counts, name) + number for name, number in more.items()}
        self._counts = replace(self._counts, **now)


def _passes_by_itself(answer: Response) -> bool:
    """The device is short of buffers or busy this moment; nothing was done."""
    status = answer.error
    return status is not None and status.group is None and status.rc in _PASSING


def _worth_repeating(error: DeviceSilent | DeviceUnreachable) -> bool:
    """A port that stayed away for the whole patience is not tried again at once."""
    return isinstance(error, DeviceSilent) or error.sent
