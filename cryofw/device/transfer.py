"""The chunks of an upload on the line: as many under way as the flow lets through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryofw.device.errors import DeviceSilent
from cryofw.device.prepared_packets import PreparedPackets
from cryofw.device.reader_rest import FEWEST_UNDER_WAY, ReaderRest
from cryofw.device.rejection import passes_by_itself, rejection
from cryofw.device.session import DAMAGE_GRACE_S
from cryofw.smp import (
    RESYNC_S,
    Framing,
    Group,
    MessageError,
    Op,
    PlaceLost,
    Request,
    UploadPacket,
    UploadStalled,
)
from cryofw.smp.messages import ImageCommand, UploadAnswer
from cryofw.transport import StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock
    from cryofw.device.link import Link
    from cryofw.device.session import Session
    from cryofw.device.target import Target
    from cryofw.errors import CryofwError
    from cryofw.smp import Response, UploadFlow

# A bootloader listens for half a second after a reset (MCUboot's wait-for-DFU default), and what
# is sent again in it is held there: a silence is given up no sooner than this.
SHORTEST_WAIT_S = 1.0
# So many times the slowest answer of late.
_SLACK = 4.0
_FADE = 0.95
# Timers closer than the loop's resolution fire at once: waiting for less would spin.
_TIME_STEP_S = 1e-6
_CHUNK = Request(Op.WRITE, Group.IMAGE, ImageCommand.UPLOAD)


class Transfer:
    """Sends what a begun flow gives, on one connection, until the device has all or it fails.

    There is no task and no timer per packet: answers come by callback from the session's reader,
    one timer stands for the whole window, and the next packet lies encoded before it may go.

    Args:
        target: whose patience.
        link: its line.
        clock: for the silences of the line.
        flow: begun.
        on_progress: called after each answer.
    """

    def __init__(
        self,
        target: Target,
        link: Link,
        clock: Clock,
        flow: UploadFlow,
        on_progress: Callable[[], None],
    ) -> None:
        self._target = target
        self._link = link
        self._clock = clock
        self._flow = flow
        self._on_progress = on_progress
        self.bytes_answered = 0
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._under_way: dict[int, tuple[UploadPacket, float]] = {}
        self._prepared: PreparedPackets | None = None
        self._wake: asyncio.Future[None] | None = None
        self._changed = False
        self._error: CryofwError | StreamLost | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._hurried = False
        self._slowest_s = 0.0
        self._wire_s = link.wire_s(flow.plan.max_packet)
        self._silences = 0
        self._rest = ReaderRest(packet_s=self._wire_s, transit_s=link.transit_s, baud=target.baud)
        self._advanced = False
        self._pause_s = 0.0
        self._resync_s = RESYNC_S if link.line.framing is Framing.RAW else 0.0
        self._quiets = link.quiets
        self._requests = 0
        self._furthest = flow.off
        self._repeats = 0

    async def run(self, connection: int) -> None:
        """Send until the flow is done.

        Raises:
            RequestFailed: the device refused a chunk.
            DeviceSilent: no answer to the last of the target's attempts.
            DeviceUnreachable: the line broke, or `connection` is over.
            PlaceLost: the device has forgotten the upload, or may have been reset by us.
            UploadStalled: it asks for the same byte again and again.
            MessageError: an answer cannot be read.
        """
        slots = self._link.slots
        session = self._session = await self._link.session_for(connection)
        session.join(self)
        self._prepared = PreparedPackets(self._flow.plan, session)
        self._quiets = self._link.quiets
        slots.on_free = self._pour
        slots.on_wait = session.end_rest
        try:
            while not self._flow.done:
                self._pour()
                await self._change()
                if self._pause_s and not self._under_way:
                    await self._clock.sleep(self._pause_s)
                    self._pause_s = 0.0
        except StreamLost as error:
            await self._link.line.drop(session)
            raise self._link.line.broken(error) from error
        finally:
            slots.on_free = slots.on_wait = None
            session.end_rest()
            session.join(None)
            if self._advanced:
                self._on_progress()
            self._give_up()
            slots.capacity = 1
            if self._timer is not None:
                self._timer.cancel()
            self._link.line.count(requests=self._requests, repeats=self._repeats)

    # the burst: called by the session's reader

    def acknowledged(self, seq: int, off: int) -> None:
        """See `Burst.acknowledged`."""
        packet = self._heard(seq)
        if packet is None:
            return
        try:
            self._advance(packet, off, None)
        except (MessageError, PlaceLost, UploadStalled) as error:
            self._error = error
        self._settle(packet)

    def answered(self, answer: Response) -> None:
        """See `Burst.answered`."""
        packet = self._heard(answer.seq)
        if packet is None:
            return
        try:
            self._take(packet, answer)
        except MessageError as error:
            if self._link.line.framing is Framing.RAW:
                # Without a CRC a damaged answer passes for one: the packet is sent again.
                self._under_way[answer.seq] = packet, self._heard_at
                self.damaged()
                return
            self._error = error
        except (PlaceLost, UploadStalled) as error:
            self._error = error
        self._settle(packet)

    def settled(self) -> None:
        """See `Burst.settled`: as long as enough is under way, the answers may lie and gather."""
        if self._advanced:
            self._advanced = False
            self._on_progress()
        self._prepare_next()
        if self._session is None or self._has_urgent_answers():
            self._rest.end()
        elif rest_s := self._rest.begin(len(self._under_way), self._flow.newest):
            self._session.rest(rest_s)

    def damaged(self) -> None:
        """See `Burst.damaged`."""
        grace_at = self._loop.time() + DAMAGE_GRACE_S
        if self._timer is not None and grace_at < self._deadline():
            # From now on, and only until the next answer.
            self._heard_at, self._hurried = grace_at - DAMAGE_GRACE_S, True
            self._set_timer()

    def broken(self, error: StreamLost) -> None:
        """See `Burst.broken`."""
        self._error = self._error or error
        self._wake_up()

    def _heard(self, seq: int) -> UploadPacket | None:
        """Note when the answer came; return the packet that it answers, if that still counts."""
        entry = self._under_way.pop(seq, None) if self._error is None else None
        if entry is None:
            return None
        packet, sent_at = entry
        self._heard_at = now = self._loop.time()
        took_s = now - sent_at
        self._rest.heard(packet.number, took_s)
        self._slowest_s = max(took_s, self._slowest_s * _FADE)
        if self._silences or self._hurried:
            # The timer was set for another wait.
            self._silences, self._hurried = 0, False
            self._set_timer()
        return packet

    def _settle(self, packet: UploadPacket) -> None:
        self._link.slots.capacity = self._flow.window
        self._forget_before(packet.number)
        self._link.slots.give()
        if self._error is not None or self._flow.done or self._pause_s:
            self._wake_up()

    def _take(self, packet: UploadPacket, answer: Response) -> None:
        body = answer.body
        if ("rc" in body or "err" in body) and (status := answer.error) is not None:
            if not passes_by_itself(status):
                self._error = rejection(self._target.name, "take the image", status)
                return
            self._flow.turned_away(packet.number)
            self._pause_s = self._target.retries.backoff_s
            return
        told = UploadAnswer.from_body(body)
        self._advance(packet, told.off, told.match)

    def _advance(self, packet: UploadPacket, off: int, match: bool | None) -> None:
        self.bytes_answered += packet.end - packet.off
        self._flow.answered(packet.number, off, match)
        self._advanced = True

    def _has_urgent_answers(self) -> bool:
        """Whether an answer lets something go that would wait without it."""
        if len(self._under_way) < FEWEST_UNDER_WAY or self._error is not None:
            return True
        return self._flow.all_sent or self._flow.grows_fast or self._link.slots.wanted

    # sending

    def _pour(self) -> None:
        """Send what may go now, and have the next packet ready."""
        session, prepared = self._session, self._prepared
        if session is None or prepared is None or self._error is not None or self._pause_s:
            return
        try:
            self._send(session, prepared)
        except (MessageError, PlaceLost, StreamLost) as error:
            self._error = error
            self._wake_up()

    def _send(self, session: Session, prepared: PreparedPackets) -> None:
        flow, slots = self._flow, self._link.slots
        if self._quiets != self._link.quiets:
            raise PlaceLost("the device may have been reset", why="the line was silenced")
        while flow.may_send and (off := flow.next_off) is not None:
            prepared.ensure(off)
            if not slots.try_take():
                return
            packet = flow.take()
            assert packet is not None
            self._post(session, packet, *prepared.take())

    def _prepare_next(self) -> None:
        """While packets are on the line, have the next ones ready."""
        if self._prepared is None or self._error is not None:
            return
        try:
            if (off := self._flow.next_off) is not None:
                self._prepared.ensure(off)
        except MessageError as error:
            self._error = error
            self._wake_up()

    def _post(self, session: Session, packet: UploadPacket, seq: int, wire: bytes) -> None:
        now = self._loop.time()
        if not self._under_way:
            self._heard_at = now
        self._under_way[seq] = packet, now
        if self._timer is None:
            self._set_timer()
        self._requests += 1
        if packet.off < self._furthest:
            self._repeats += 1
        self._furthest = max(self._furthest, packet.end)
        session.post(seq, wire, _CHUNK)

    # waiting

    async def _change(self) -> None:
        """Wait until something has happened."""
        if not self._changed and not self._flow.done:
            self._wake = self._loop.create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        self._changed = False
        if self._error is not None:
            raise self._error

    def _wake_up(self) -> None:
        self._changed = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _wait_s(self) -> float:
        """How long the next answer may take: fast at first, then as patient as any request."""
        request_s = self._target.timeouts.request_s
        wire_s = self._flow.window * self._wire_s
        if self._silences:
            return wire_s + max(request_s * 2.0 ** (self._silences - 1), self._resync_s)
        fast_s = min(max(SHORTEST_WAIT_S, _SLACK * self._slowest_s), request_s)
        return wire_s + max(fast_s, self._resync_s)

    def _deadline(self) -> float:
        wait_s = DAMAGE_GRACE_S if self._hurried else self._wait_s()
        return self._heard_at + wait_s

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline(), self._on_timer)

    def _on_timer(self) -> None:
        """One timer for the whole window: it finds that an answer came since, or that none did."""
        self._timer = None
        if not self._under_way:
            return
        if self._deadline() > self._loop.time() + _TIME_STEP_S:
            self._set_timer()
            return
        self._hurried = False
        self._silences += 1
        self._give_up()
        self._flow.lost()
        if self._silences > self._target.retries.count:
            self._error = DeviceSilent(
                f"{self._target.name} does not answer",
                why=f"no answer on {self._target.port} to byte {self._flow.off} of the image, "
                f"sent {self._silences} times",
                hint="is it powered, is the baud rate right, and did its firmware hang?",
            )
        self._wake_up()

    def _forget_before(self, number: int) -> None:
        """Give up what an answer has overtaken, as the flow did."""
        for seq, (packet, _) in list(self._under_way.items()):
            if packet.number > number:
                return
            self._forget(seq)

    def _give_up(self) -> None:
        for seq in list(self._under_way):
            self._forget(seq)

    def _forget(self, seq: int) -> None:
        del self._under_way[seq]
        if self._session is not None:
            self._session.forget(seq)
        self._link.slots.give()
