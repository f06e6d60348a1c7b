from __future__ import annotations

import pytest

from cryofw.smp import (
    BadFrame,
    Frame,
    FrameDecoder,
    FrameFault,
    Header,
    LogLine,
    Message,
    MessageError,
    Op,
    Request,
    RequestReceived,
    ServerConnection,
    encode_frame,
)


def decoded(wire: bytes) -> Message:
    (event,) = FrameDecoder().feed(wire)
    assert isinstance(event, Frame)
    return Message.decode(event.message)


@pytest.mark.parametrize(
    ("op", "answered"),
    [
        (Op.READ, Op.READ_RSP),
        (Op.WRITE, Op.WRITE_RSP),
        (1, Op.WRITE_RSP),
        (3, Op.WRITE_RSP),
        (5, Op.WRITE_RSP),
    ],
)
def test_replies_as_recorded_whatever_the_op(op: int, answered: Op) -> None:
    header = Header(op, 4, 0xFF, 5, 99, 203, 77, reserved=7)
    message = decoded(ServerConnection().reply(header, {"rc": 13}))
    assert message.header == Header(answered, 2, 0, 5, 99, 203, 77)
    assert message.body == {"rc": 13}


def test_an_encoded_body_is_taken_as_it_is() -> None:
    body = bytes.fromhex("bf61726568656c6c6fff")
    wire = ServerConnection().reply(Header(Op.WRITE, 1, 0, 9, 0, 1, 0), body)
    assert decoded(wire).payload == body


def test_a_body_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(MessageError):
        ServerConnection().reply(Header(Op.WRITE, 1, 0, 9, 0, 1, 0), {"x": object()})


def test_a_packet_larger_than_the_buffer_is_dropped() -> None:
    server = ServerConnection(max_packet=380)
    fits = Request(Op.WRITE, 0, 0, {"d": "e" * 366}).encode(seq=1)
    assert len(fits) == 380
    too_large = Request(Op.WRITE, 0, 0, {"d": "e" * 367}).encode(seq=1)
    (event,) = server.receive_data(encode_frame(too_large))
    assert isinstance(event, BadFrame)
    assert event.fault is FrameFault.LENGTH
    (request,) = server.receive_data(encode_frame(fits))
    assert isinstance(request, RequestReceived)


def test_a_payload_that_is_no_map_has_no_body() -> None:
    header = Header(Op.READ, 2, 0, 1, 1, 9, 0)
    (request,) = ServerConnection().receive_data(encode_frame(header.encode() + b"\x01"))
    assert request == RequestReceived(header, b"\x01", None)


def test_a_cut_request_shows_by_its_length() -> None:
    header = Header(Op.WRITE, 2, 0, 40, 0, 9, 0)
    (request,) = ServerConnection().receive_data(encode_frame(header.encode() + b"\xa0"))
    assert isinstance(request, RequestReceived)
    assert request.header.length > len(request.payload)


def test_what_is_shorter_than_a_header_is_told() -> None:
    server = ServerConnection()
    (event,) = server.receive_data(encode_frame(bytes(7)))
    assert event == BadFrame(FrameFault.MESSAGE, bytes(7))
    assert server.receive_data(b"noise\n") == [LogLine(b"noise")]
