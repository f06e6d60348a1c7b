"""The server's side of an SMP connection, without any IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.smp.body import MessageError, encode_body
from cryofw.smp.framing import (
    MAX_MESSAGE,
    BadFrame,
    Frame,
    FrameDecoder,
    FrameFault,
    Framing,
    LogLine,
    encode_frame,
)
from cryofw.smp.message import V2, Header, Op, split_packet
from cryofw.smp.raw_framing import REQUESTS, RawDecoder, encode_raw

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A request as it came; any op, group and version, for the server to judge.

    Attributes:
        header: the request's header.
        payload: its bytes; shorter than `header.length` if the request was cut.
        body: the decoded map, or None if the payload is no CBOR map.
    """

    header: Header
    payload: bytes
    body: Mapping[str, object] | None


ServerEvent = RequestReceived | LogLine | BadFrame


class ServerConnection:
    """Decodes requests and frames the replies.

    Like the recorded servers it finds frames only at the start of a line, and reads every
    message of a packet.

    Args:
        max_packet: largest SMP packet in bytes that the server's buffer takes (`buf_size` - 4);
            larger ones come out as a `BadFrame`. Unlimited by default.
        framing: how the messages lie on the line.
    """

    __slots__ = ("_decoder", "_frame", "_max_packet")

    def __init__(
        self, *, max_packet: int | None = None, framing: Framing = Framing.CONSOLE
    ) -> None:
        self._decoder: FrameDecoder | RawDecoder
        if framing is Framing.RAW:
            self._decoder = RawDecoder(
                ops=REQUESTS, max_message=max_packet or MAX_MESSAGE, skips=False
            )
            self._frame = encode_raw
        else:
            self._decoder = FrameDecoder(starts_mid_line=False)
            self._frame = encode_frame
        self._max_packet = max_packet

    def discard_half(self) -> None:
        """Drop what has half arrived on a raw line, as servers do after their input time-out."""
        if isinstance(self._decoder, RawDecoder):
            self._decoder.discard()

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """Take bytes off the line and return what they completed; never raises."""
        events: list[ServerEvent] = []
        for event in self._decoder.feed(data):
            if isinstance(event, Frame):
                self._receive_packet(event.message, events)
            else:
                events.append(event)
        return events

    def _receive_packet(self, packet: bytes, events: list[ServerEvent]) -> None:
        if self._max_packet is not None and len(packet) > self._max_packet:
            events.append(BadFrame(FrameFault.LENGTH, packet))
            return
        try:
            messages = split_packet(packet)
        except MessageError:
            events.append(BadFrame(FrameFault.MESSAGE, packet))
            return
        for message in messages:
            try:
                body = message.body
            except MessageError:
                body = None
            events.append(RequestReceived(message.header, message.payload, body))

    def reply(self, header: Header, body: Mapping[str, object] | bytes) -> bytes:
        """Return the framed response to the request with `header`.

        The response carries the request's group, sequence number and command, and a version
        the server knows. `body` is a map, or an already encoded one.

        Raises:
            MessageError: the body cannot be encoded.
        """
        payload = body if isinstance(body, bytes) else encode_body(body)
        op = Op.READ_RSP if header.op == Op.READ else Op.WRITE_RSP
        version = min(header.version, V2)
        answer = Header(op, version, 0, len(payload), header.group, header.seq, header.command)
        return self._frame(answer.encode() + payload)
