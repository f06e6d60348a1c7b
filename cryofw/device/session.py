"""SMP over one open byte stream: requests out, answers matched, log lines kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.smp import BadFrame, ClientConnection, Framing, Response
from cryofw.transport import DirectWriter, EventStream, RestingReader, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.device.burst import Burst
    from cryofw.smp import ClientEvent, Request
    from cryofw.transport import ByteStream

# A damaged frame was most likely our answer: it is not worth the whole timeout any more.
DAMAGE_GRACE_S = 0.5
# Stands for the sequence number of a packet that has left in part.
_BEGUN = -1


class Session:
    """One connection on one stream, from opening to its loss.

    Requests may overlap here; how many a device takes is its caller's affair. Every request has
    a sequence number of its own and a given-up one is forgotten, so a late answer never passes for
    the answer to a later request.

    Args:
        stream: open; the session closes it.
        first_seq: the first sequence number; go on from the last session's `next_seq`.
        on_event: sees log lines, answers to requests, stale ones and damaged frames.
        framing: how messages lie on the line.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        first_seq: int = 0,
        on_event: Callable[[ClientEvent], None],
        framing: Framing = Framing.CONSOLE,
    ) -> None:
        self._stream = stream
        self._framing = framing
        self._newline_due = False
        self._connection = ClientConnection(first_seq=first_seq, framing=framing)
        self._on_event = on_event
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._deadlines: dict[int, asyncio.Timeout] = {}
        self._burst: Burst | None = None
        self._direct = stream if isinstance(stream, DirectWriter) else None
        self._resting = stream if isinstance(stream, RestingReader) else None
        self._backlog: dict[int, bytes] = {}
        self._receiving = False
        self._flushing: asyncio.Task[None] | None = None
        self._lost: StreamLost | None = None
        self.next_seq = first_seq % 256
        self._pump: asyncio.Task[None] | None = None
        if isinstance(stream, EventStream):
            stream.listen(self._receive, self._end)
        else:
            self._pump = asyncio.create_task(self._read(stream))

    @property
    def lost(self) -> bool:
        """The line broke: open another session."""
        return self._lost is not None

    async def exchange(self, request: Request, *, timeout_s: float) -> Response:
        """Send `request` once and return the answer to it.

        Raises:
            TimeoutError: no answer within `timeout_s` seconds.
            StreamLost: the line broke; the request may have arrived.
            MessageError: the request cannot be encoded.
        """
        if self._lost is not None:
            raise self._lost
        seq, wire = self._connection.send(request)
        self.next_seq = (seq + 1) % 256
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[seq] = answer
        self.end_rest()
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                self._deadlines[seq] = deadline
                if self._direct is None and not self._newline_due:
                    await self._stream.write(wire)
                else:
                    self._write_soon(seq, wire)
                return await answer
        finally:
            self.forget(seq)
            self._waiting.pop(seq, None)
            self._deadlines.pop(seq, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # a line that broke in the write has told the caller already

    def speak(self, framing: Framing) -> None:
        """Change the framing; nothing may be under way."""
        first_seq = self.next_seq
        if framing is Framing.RAW:
            # What a console may take for text has no letter and no newline in it.
            first_seq |= 0x80
        self._newline_due = self._framing is Framing.RAW
        self._framing = framing
        self._connection = ClientConnection(first_seq=first_seq, framing=framing)

    def join(self, burst: Burst | None) -> None:
        """Let `burst` hear what becomes of the packets it posts; None: it has ended."""
        self._burst = burst
        self._connection.drop_prepared()

    def prepare(self, encode: Callable[[int], bytes]) -> tuple[int, bytes]:
        """Frame a packet that is posted later; see `ClientConnection.prepare`."""
        seq, wire = self._connection.prepare(encode)
        self.next_seq = (seq + 1) % 256
        return seq, wire

    def drop_prepared(self) -> None:
        """What was prepared and not posted never will be."""
        self._connection.drop_prepared()

    def post(self, seq: int, wire: bytes, request: Request) -> None:
        """Send a prepared packet without waiting; its answer goes to the burst.

        Raises:
            StreamLost: the line broke; the packet may have arrived.
        """
        if self._lost is not None:
            raise self._lost
        self._connection.sent(seq, wire, request)
        self._write_soon(seq, wire)

    def forget(self, seq: int) -> None:
        """Give up a packet: if it has not left it never will, and a late answer to it is stale."""
        if self._connection.forget(seq):
            self._backlog.pop(seq, None)
            self._connection.discard_half()

    def rest(self, seconds: float) -> None:
        """Let the answers to packets lie for so long, if nobody waits for another answer."""
        if self._resting is not None and not self._waiting:
            self._resting.rest(seconds)

    def end_rest(self) -> None:
        """Somebody is in a hurry: look at once at what has come."""
        if self._resting is not None:
            self._resting.end_rest()

    def _write_soon(self, seq: int, wire: bytes) -> None:
        """Write now what the stream takes, and the rest in order when it takes more."""
        if self._newline_due:
            self._newline_due = False
            wire = b"\n" + wire
        self._backlog[seq] = wire
        if not self._receiving:
            self._write_backlog()

    def _write_backlog(self) -> None:
        if not self._backlog or self._flushing is not None:
            return
        if self._direct is not None:
            wires = b"".join(self._backlog.values())
            taken = self._direct.write_now(wires)
            if taken == len(wires):
                self._backlog.clear()
                return
            self._drop_written(taken)
        self._flushing = asyncio.create_task(self._flush())

    def _drop_written(self, taken: int) -> None:
        """Keep what has not left, and of what has left in part the rest."""
        for seq, wire in list(self._backlog.items()):
            if not taken:
                return
            del self._backlog[seq]
            if taken < len(wire):
                self._backlog = {_BEGUN: wire[taken:], **self._backlog}
                return
            taken -= len(wire)

    async def _flush(self) -> None:
        try:
            while self._backlog:
                # What has begun is sent to its end: half a line would swallow the next packet.
                await self._stream.write(self._backlog.pop(next(iter(self._backlog))))
        except StreamLost as error:
            self._fail(error)
        finally:
            self._flushing = None

    async def close(self) -> None:
        """Stop reading and give the stream back."""
        tasks = [task for task in (self._pump, self._flushing) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            self._fail(StreamLost("The session is over", why="it was closed"))
            await self._stream.close()

    async def _read(self, stream: ByteStream) -> None:
        try:
            while data := await stream.read():
                self._receive(data)
            self._end(None)
        except StreamLost as error:
            self._end(error)

    def _receive(self, data: bytes) -> None:
        self._receiving = True
        if self._burst is not None:
            answers, data = self._connection.receive_upload_answers(data)
            for seq, off in answers:
                self._burst.acknowledged(seq, off)
        if data:
            for event in self._connection.receive_data(data):
                self._take(event)
        self._receiving = False
        try:
            self._write_backlog()
        except StreamLost as error:
            self._fail(error)
        if self._burst is not None:
            self._burst.settled()

    def _end(self, error: StreamLost | None) -> None:
        self._fail(error or StreamLost("The line is lost", why="the other side closed it"))

    def _take(self, event: ClientEvent) -> None:
        if isinstance(event, Response):
            answer = self._waiting.get(event.seq)
            if answer is None:
                if self._burst is not None:
                    self._burst.answered(event)
                return
            if not answer.done():
                answer.set_result(event)
        if isinstance(event, BadFrame) and self._framing is Framing.CONSOLE:
            # On a raw line only silence helps: nothing may be sent again soon.
            self._hurry()
        self._on_event(event)

    def _hurry(self) -> None:
        """Wait less for the oldest request: answers come in order, so the damage was its own.

        The others are still to be answered, and must not be given up for it.
        """
        oldest = next(iter(self._connection.outstanding), None)
        if oldest is None:
            return
        deadline = self._deadlines.get(oldest)
        if deadline is None:
            if self._burst is not None:
                self._burst.damaged()
            return
        soon = asyncio.get_running_loop().time() + DAMAGE_GRACE_S
        when = deadline.when()
        if when is not None and when > soon and not deadline.expired():
            deadline.reschedule(soon)

    def _fail(self, error: StreamLost) -> None:
        self._lost = self._lost or error
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        if self._burst is not None:
            self._burst.broken(error)
