"""Messages and connections: any bytes give events or a typed error, never anything else."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cryofw.smp import (
    ClientConnection,
    Header,
    Message,
    MessageError,
    Op,
    Request,
    RequestReceived,
    Response,
    ServerConnection,
    UploadPlan,
    decode_body,
    encode_body,
    encode_frame,
    messages,
    split_packet,
    status_of,
)

if TYPE_CHECKING:
    from random import Random

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=30),
    st.binary(max_size=300),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
BODIES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)
HEADERS = st.builds(
    Header,
    op=st.integers(0, 7),
    version=st.integers(1, 4),
    flags=st.integers(0, 255),
    length=st.integers(0, 0xFFFF),
    group=st.integers(0, 0xFFFF),
    seq=st.integers(0, 255),
    command=st.integers(0, 255),
    reserved=st.integers(0, 7),
)
# Bytes that are likely to look like CBOR: heads of every major type and length form.
CBORISH = st.lists(
    st.sampled_from([0xA1, 0xBF, 0x9F, 0x81, 0x61, 0x5B, 0xC1, 0xFF, 0x1B, 0xF9, 0x7F, 0xBB, 0x80])
    | st.integers(0, 255),
    max_size=60,
).map(bytes)
ANSWERS = (
    messages.EchoAnswer.from_body,
    messages.ServerParameters.from_body,
    messages.BootloaderInfo.from_body,
    messages.AppInfo.from_body,
    messages.ImageState.from_body,
    messages.UploadAnswer.from_body,
    messages.SlotInfo.list_from_body,
    messages.Heartbeat.from_body,
    messages.Metrics.from_body,
    messages.Calibration.from_body,
    messages.SafeState.from_body,
    messages.ControllerIdentity.from_body,
    messages.Lease.from_body,
)
KNOWN_KEYS = ["r", "buf_size", "buf_count", "mode", "images", "slot", "hash", "off", "match"]
KNOWN_KEYS += ["rc", "err", "seq", "up", "boot", "m", "t", "id", "hw", "board", "token"]


@given(HEADERS)
def test_headers_round_trip(header: Header) -> None:
    assert Header.decode(header.encode()) == header


@given(st.binary(min_size=8, max_size=8))
def test_every_eight_bytes_are_a_header(data: bytes) -> None:
    assert Header.decode(data).encode() == data


@given(BODIES)
def test_bodies_round_trip(body: dict[str, object]) -> None:
    assert decode_body(encode_body(body)) == body


@given(CBORISH | st.binary(max_size=200))
def test_any_payload_is_a_map_or_a_message_error(payload: bytes) -> None:
    with suppress(MessageError):
        assert isinstance(decode_body(payload), dict)


@given(st.dictionaries(st.sampled_from(KNOWN_KEYS), VALUES, max_size=6))
def test_any_map_is_an_answer_or_a_message_error(body: dict[str, object]) -> None:
    status_of(body)
    for read in ANSWERS:
        with suppress(MessageError):
            assert read(body) is not None


@given(st.binary(max_size=120))
def test_any_packet_splits_without_losing_a_byte(packet: bytes) -> None:
    with suppress(MessageError):
        parts = split_packet(packet)
        assert b"".join(part.encode() for part in parts) == packet
        return
    assert len(packet) < 8


@given(st.lists(st.binary(max_size=60) | CBORISH.map(encode_frame), max_size=12))
def test_connections_take_any_bytes(parts: list[bytes]) -> None:
    client, server = ClientConnection(), ServerConnection()
    for _ in range(3):
        client.send(messages.read_image_state())
    for part in parts:
        client.receive_data(part)
        for event in server.receive_data(part):
            if isinstance(event, RequestReceived):
                client.receive_data(server.reply(event.header, {"rc": 8}))


@given(
    st.lists(st.tuples(st.integers(0, 5), BODIES), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.integers(0, 255),
    st.sampled_from([1, 2]),
)
def test_every_request_gets_its_own_answer_once(
    asked: list[tuple[int, dict[str, object]]],
    order: Random,
    first_seq: int,
    version: int,
) -> None:
    """Answers in any order, each of them twice: one response a request, the rest is stale."""
    client, server = ClientConnection(version=version, first_seq=first_seq), ServerConnection()
    sent: dict[int, Request] = {}
    replies: list[bytes] = []
    for command, body in asked:
        request = Request(Op.WRITE, 64, command, body)
        seq, wire = client.send(request)
        sent[seq] = request
        (received,) = server.receive_data(wire)
        assert isinstance(received, RequestReceived)
        assert received.body == body
        reply = server.reply(received.header, body)
        replies += [reply, reply]
    order.shuffle(replies)
    events = client.receive_data(b"".join(replies))
    responses = [event for event in events if isinstance(event, Response)]
    assert len(events) == 2 * len(asked)
    assert {response.seq: response.request for response in responses} == sent
    assert all(sent[response.seq].body == response.body for response in responses)
    assert client.outstanding == ()


@given(st.binary(min_size=1, max_size=3000), st.integers(82, 600), st.integers(1, 32), st.data())
def test_an_upload_ends_whatever_offsets_the_server_returns(
    data: bytes, max_packet: int, alignment: int, draws: st.DataObject
) -> None:
    try:
        plan = UploadPlan.of(data, max_packet=max_packet, alignment=alignment)
    except MessageError:
        assert max_packet < 82 + alignment
        return
    flash = bytearray()
    whims = draws.draw(st.lists(st.sampled_from(["cut", "lost", "reboot"]), max_size=8))
    off = 0
    while off < plan.size:
        message = Message.decode(plan.chunk_at(off).encode(seq=1))
        assert len(message.encode()) <= max_packet
        chunk, whim = message.body["data"], whims.pop() if whims else "takes it"
        assert isinstance(chunk, bytes)
        assert message.body["off"] == len(flash)
        if whim == "reboot":
            flash.clear()
        elif whim != "lost":
            flash += chunk[: len(chunk) // 2 + 1] if whim == "cut" else chunk
        off = len(flash)
    assert bytes(flash) == data
