"""Bare messages: the header bounds them, and what is none is passed over or dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.smp import (
    BadFrame,
    ClientConnection,
    Frame,
    FrameFault,
    Framing,
    Header,
    MessageError,
    Op,
    RawDecoder,
    RequestReceived,
    Response,
    ServerConnection,
    encode_frame,
    encode_raw,
    messages,
)
from cryofw.smp.raw_framing import REQUESTS, RESPONSES

bodies = st.binary(max_size=60)


def message(op: Op, body: bytes, seq: int = 7) -> bytes:
    return Header(op, 2, 0, len(body), 1, seq, 1).encode() + body


def decoder(*, skips: bool, ops: frozenset[Op] = RESPONSES) -> RawDecoder:
    return RawDecoder(ops=ops, max_message=384, skips=skips)


@given(st.lists(bodies, min_size=1, max_size=5), st.data())
def test_messages_come_out_however_they_are_cut(sent: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(message(Op.READ_RSP, body) for body in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    raw = decoder(skips=True)
    events = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        events += raw.feed(wire[begin:end])
    assert events == [Frame(message(Op.READ_RSP, body)) for body in sent]
    assert raw.held == 0


@given(st.binary(max_size=300), st.booleans())
def test_noise_never_raises_and_is_bounded(noise: bytes, skips: bool) -> None:
    raw = decoder(skips=skips)
    raw.feed(noise)
    assert raw.held <= 384
    raw.discard()
    assert raw.feed(message(Op.READ_RSP, b"\xa0")) == [Frame(message(Op.READ_RSP, b"\xa0"))]


def test_a_client_passes_over_noise_to_the_next_message() -> None:
    good = message(Op.WRITE_RSP, b"\xa0")
    noise, frame = decoder(skips=True).feed(b"\xff\x80noise" + good)
    assert noise == BadFrame(FrameFault.HEADER, b"\xff\x80noise")
    assert frame == Frame(good)


def test_a_server_drops_all_that_follows_noise() -> None:
    """As MCUboot's boot_serial_input_raw does: only its input time-out makes a new beginning."""
    good = message(Op.WRITE, b"\xa0")
    raw = decoder(skips=False, ops=REQUESTS)
    (bad,) = raw.feed(b"\xff" + good)
    assert isinstance(bad, BadFrame)
    assert raw.feed(good) == [Frame(good)]


def test_half_a_message_swallows_the_next_unless_there_was_silence() -> None:
    good = message(Op.WRITE, b"\xa1\x61d\x61x")
    raw = decoder(skips=False, ops=REQUESTS)
    assert raw.feed(good[:-1]) == []
    assert raw.feed(good) != [Frame(good)]
    raw.discard()
    raw.feed(good[:-1])
    raw.discard()
    assert raw.feed(good) == [Frame(good)]


@given(st.integers(0, 255), st.integers(0, 300))
def test_a_framed_request_is_none_to_a_raw_server(seq: int, size: int) -> None:
    wire = encode_frame(messages.echo("x" * size).encode(seq=seq))
    server = ServerConnection(max_packet=384, framing=Framing.RAW)
    assert not any(isinstance(event, RequestReceived) for event in server.receive_data(wire))


def test_client_and_server_speak_bare() -> None:
    client = ClientConnection(framing=Framing.RAW)
    server = ServerConnection(framing=Framing.RAW)
    seq, wire = client.send(messages.echo("hello"))
    assert wire == messages.echo("hello").encode(seq=seq)
    (request,) = server.receive_data(wire)
    assert isinstance(request, RequestReceived)
    reply = server.reply(request.header, {"r": "hello"})
    assert client.receive_data(reply[:-1]) == []
    client.discard_half()
    (answer,) = client.receive_data(reply)
    assert isinstance(answer, Response)
    assert answer.body == {"r": "hello"}


def test_what_has_no_header_of_its_length_cannot_go_bare() -> None:
    with pytest.raises(MessageError, match="length"):
        encode_raw(message(Op.WRITE, b"\xa0") + b"x")
