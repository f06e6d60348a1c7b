"""The client's side of an SMP connection, without any IO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryofw.smp.body import MessageError
from cryofw.smp.framing import (
    BadFrame,
    Frame,
    FrameDecoder,
    FrameFault,
    Framing,
    LogLine,
    encode_frame,
)
from cryofw.smp.message import V2, Group, Message, Op, Request, split_packet
from cryofw.smp.messages.image_group import ImageCommand
from cryofw.smp.raw_framing import LONGEST_ANSWER, RESPONSES, RawDecoder, encode_raw
from cryofw.smp.status import SmpStatus, status_of
from cryofw.smp.upload_answer import read_upload_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SEQ_COUNT: Final = 256
_RESPONSES: Final = (Op.READ_RSP, Op.WRITE_RSP)
_UPLOAD: Final = (Group.IMAGE, ImageCommand.UPLOAD)


class StaleReason(StrEnum):
    """Why a message answers nothing that is outstanding."""

    UNKNOWN_SEQ = "unknown-seq"
    ANSWERED = "answered"
    FORGOTTEN = "forgotten"
    OTHER_COMMAND = "other-command"
    NOT_A_RESPONSE = "not-a-response"


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to an outstanding request.

    Attributes:
        seq: the sequence number that `send` returned.
        message: header and payload as received.
        body: the decoded map; unknown keys are in it.
        request: what was asked.
    """

    seq: int
    message: Message
    body: Mapping[str, object]
    request: Request

    @property
    def error(self) -> SmpStatus | None:
        """What the device refused with, in the shape of v1 (`rc`) or v2 (`err`); None if ok."""
        return status_of(self.body)


@dataclass(frozen=True, slots=True)
class StaleResponse:
    """A message that answers nothing outstanding: late, repeated, or our own bytes echoed."""

    message: Message
    reason: StaleReason


ClientEvent = Response | StaleResponse | LogLine | BadFrame


@dataclass(slots=True)
class _Outstanding:
    request: Request
    wire: bytes


class ClientConnection:
    """Allocates sequence numbers, frames requests and matches the answers to them.

    Several requests may be outstanding; how many a device takes is its caller's affair.

    Args:
        version: SMP version of the requests, 1 or 2; answers of either are taken.
        first_seq: sequence number of the first request. Choose another than the last
            connection ended with, so that its late answers do not match.
        framing: how the messages lie on the line.
    """

    __slots__ = ("_decoder", "_frame", "_next_seq", "_outstanding", "_past", "_prepared", "version")

    def __init__(
        self, *, version: int = V2, first_seq: int = 0, framing: Framing = Framing.CONSOLE
    ) -> None:
        self.version = version
        self._decoder: FrameDecoder | RawDecoder
        if framing is Framing.RAW:
            self._decoder = RawDecoder(ops=RESPONSES, max_message=LONGEST_ANSWER, skips=True)
            self._frame = encode_raw
        else:
            self._decoder = FrameDecoder()
            self._frame = encode_frame
        self._next_seq = first_seq % _SEQ_COUNT
        self._outstanding: dict[int, _Outstanding] = {}
        self._past: dict[int, StaleReason] = {}
        self._prepared: set[int] = set()

    @property
    def outstanding(self) -> tuple[int, ...]:
        """Sequence numbers without an answer yet, oldest first."""
        return tuple(self._outstanding)

    def send(self, request: Request) -> tuple[int, bytes]:
        """Return the request's sequence number and the bytes to write.

        Raises:
            MessageError: the request cannot be encoded, or all 256 numbers are outstanding.
        """
        seq, wire = self.prepare(lambda seq: request.encode(seq=seq, version=self.version))
        self.sent(seq, wire, request)
        return seq, wire

    def prepare(self, encode: Callable[[int], bytes]) -> tuple[int, bytes]:
        """Return a sequence number and the bytes to write, for a message that may go later.

        Args:
            encode: gives the message with that sequence number.

        Raises:
            MessageError: as `send`.
        """
        seq = self._free_seq()
        wire = self._frame(encode(seq))
        self._next_seq = (seq + 1) % _SEQ_COUNT
        self._prepared.add(seq)
        return seq, wire

    def drop_prepared(self) -> None:
        """Give back the numbers of all that was prepared and has not been sent."""
        self._prepared.clear()

    def sent(self, seq: int, wire: bytes, request: Request) -> None:
        """What was prepared goes now: wait for the answer to it.

        Args:
            seq, wire: what `prepare` returned.
            request: op, group and command of it.
        """
        self._outstanding[seq] = _Outstanding(request, wire)
        self._past.pop(seq, None)
        self._prepared.discard(seq)

    def resend(self, seq: int) -> bytes:
        """Return the bytes of an outstanding request again, under the same number.

        Raises:
            KeyError: `seq` is not outstanding.
        """
        return self._outstanding[seq].wire

    def forget(self, seq: int) -> bool:
        """Give up on a request: a late answer to it comes out as a `StaleResponse`.

        Returns whether it was outstanding.
        """
        if self._outstanding.pop(seq, None) is None:
            return False
        self._past[seq] = StaleReason.FORGOTTEN
        return True

    def discard_half(self) -> None:
        """Drop what has half arrived on a raw line: its rest would have come by now.

        On a console the next frame marks its own beginning, and nothing has to be dropped.
        """
        if isinstance(self._decoder, RawDecoder):
            self._decoder.discard()

    def receive_upload_answers(self, data: bytes) -> tuple[list[tuple[int, int]], bytes]:
        """Take the usual answers to upload packets off the beginning of `data`, fast.

        Returns:
            Sequence number and `off` of each, and the rest, which is for `receive_data`.
        """
        answers: list[tuple[int, int]] = []
        decoder = self._decoder
        if not isinstance(decoder, FrameDecoder) or decoder.is_amid:
            return answers, data
        while data:
            end = data.find(b"\n") + 1
            answer = read_upload_answer(data if end == len(data) else data[:end])
            if answer is None or not self._settle(answer[0]):
                break
            answers.append(answer)
            data = data[end:]
        return answers, data

    def _settle(self, seq: int) -> bool:
        """Take an answer to an upload packet; False if `seq` is not one that is outstanding."""
        entry = self._outstanding.get(seq)
        if entry is None or (entry.request.group, entry.request.command) != _UPLOAD:
            return False
        del self._outstanding[seq]
        self._past[seq] = StaleReason.ANSWERED
        return True

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Take bytes off the line and return what they completed; never raises."""
        events: list[ClientEvent] = []
        for event in self._decoder.feed(data):
            if isinstance(event, Frame):
                self._receive_packet(event.message, events)
            else:
                events.append(event)
        return events

    def _receive_packet(self, packet: bytes, events: list[ClientEvent]) -> None:
        try:
            messages = split_packet(packet)
        except MessageError:
            events.append(BadFrame(FrameFault.MESSAGE, packet))
            return
        events.extend([self._receive_message(message) for message in messages])

    def _receive_message(self, message: Message) -> ClientEvent:
        header = message.header
        entry = self._outstanding.get(header.seq)
        if header.op not in _RESPONSES:
            return StaleResponse(message, StaleReason.NOT_A_RESPONSE)
        if entry is None:
            reason = self._past.get(header.seq, StaleReason.UNKNOWN_SEQ)
            return StaleResponse(message, reason)
        request = entry.request
        if (header.group, header.command) != (request.group, request.command):
            return StaleResponse(message, StaleReason.OTHER_COMMAND)
        try:
            body = message.body
        except MessageError:
            # The request stays outstanding: it may be sent again.
            return BadFrame(FrameFault.MESSAGE, message.encode())
        del self._outstanding[header.seq]
        self._past[header.seq] = StaleReason.ANSWERED
        return Response(header.seq, message, body, request)

    def _free_seq(self) -> int:
        if len(self._outstanding) + len(self._prepared) >= _SEQ_COUNT:
            raise MessageError("no SMP sequence number is free", why="256 requests are outstanding")
        seq = self._next_seq
        while seq in self._outstanding or seq in self._prepared:
            seq = (seq + 1) % _SEQ_COUNT
        return seq
