from __future__ import annotations

import pytest

from cryofw.smp import (
    BadFrame,
    ClientConnection,
    FrameFault,
    Header,
    LogLine,
    MessageError,
    Op,
    Request,
    RequestReceived,
    Response,
    ServerConnection,
    StaleReason,
    StaleResponse,
    encode_frame,
)
from cryofw.smp.messages import echo, read_image_state


def answer(request: Request, seq: int, body: dict[str, object]) -> bytes:
    """What a server would put on the line."""
    header = Header(request.op, 2, 0, 0, request.group, seq, request.command)
    return ServerConnection().reply(header, body)


def stale_reasons(events: object) -> list[StaleReason]:
    assert isinstance(events, list)
    return [event.reason for event in events if isinstance(event, StaleResponse)]


def test_a_request_meets_its_response() -> None:
    client, server = ClientConnection(first_seq=200), ServerConnection()
    seq, wire = client.send(echo("hello"))
    (request,) = server.receive_data(wire)
    assert isinstance(request, RequestReceived)
    assert request.body == {"d": "hello"}
    (response,) = client.receive_data(server.reply(request.header, {"r": "hello"}))
    assert isinstance(response, Response)
    assert (response.seq, response.body, response.error) == (200, {"r": "hello"}, None)
    assert seq == 200
    assert response.request == echo("hello")
    assert client.outstanding == ()


def test_sequence_numbers_wrap_after_255() -> None:
    client = ClientConnection(first_seq=254)
    seqs = []
    for _ in range(4):
        seq, _ = client.send(echo("x"))
        client.forget(seq)
        seqs.append(seq)
    assert seqs == [254, 255, 0, 1]


def test_numbers_that_are_outstanding_are_not_given_again() -> None:
    client = ClientConnection()
    seqs = [client.send(echo("x"))[0] for _ in range(256)]
    assert seqs == list(range(256))
    with pytest.raises(MessageError, match="256"):
        client.send(echo("x"))
    client.forget(77)
    assert client.send(echo("x"))[0] == 77


def test_answers_may_come_in_any_order_and_in_one_read() -> None:
    client = ClientConnection()
    first, _ = client.send(echo("a"))
    second, _ = client.send(read_image_state())
    wire = answer(read_image_state(), second, {"images": []}) + answer(echo("a"), first, {"r": "a"})
    events = client.receive_data(wire)
    assert [event.seq for event in events if isinstance(event, Response)] == [second, first]


def test_two_responses_in_one_packet() -> None:
    client = ClientConnection(first_seq=11)
    client.send(echo("one"))
    client.send(echo("two"))
    messages = [
        bytes.fromhex("0300000800000b00bf6172636f6e65ff"),
        bytes.fromhex("0300000800000c00bf61726374776fff"),
    ]
    events = client.receive_data(encode_frame(b"".join(messages)))
    assert [event.body for event in events if isinstance(event, Response)] == [
        {"r": "one"},
        {"r": "two"},
    ]


def test_a_duplicate_is_stale() -> None:
    client = ClientConnection()
    seq, _ = client.send(echo("a"))
    wire = answer(echo("a"), seq, {"r": "a"})
    assert len(client.receive_data(wire)) == 1
    assert stale_reasons(client.receive_data(wire)) == [StaleReason.ANSWERED]


def test_a_late_answer_to_a_forgotten_request_is_stale() -> None:
    client = ClientConnection()
    seq, _ = client.send(echo("a"))
    client.forget(seq)
    client.send(echo("b"))
    events = client.receive_data(answer(echo("a"), seq, {"r": "a"}))
    assert stale_reasons(events) == [StaleReason.FORGOTTEN]
    assert client.outstanding == (seq + 1,)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (echo("x"), StaleReason.UNKNOWN_SEQ),
        (read_image_state(), StaleReason.OTHER_COMMAND),
    ],
)
def test_an_answer_to_something_else_is_stale(request_: Request, reason: StaleReason) -> None:
    client = ClientConnection()
    seq, _ = client.send(echo("x"))
    at = seq if reason is StaleReason.OTHER_COMMAND else seq + 9
    events = client.receive_data(answer(request_, at, {}))
    assert stale_reasons(events) == [reason]
    assert client.outstanding == (seq,)


def test_our_own_bytes_echoed_by_a_terminal_are_no_answer() -> None:
    client = ClientConnection()
    _, wire = client.send(echo("x"))
    assert stale_reasons(client.receive_data(wire)) == [StaleReason.NOT_A_RESPONSE]
    assert client.outstanding == (0,)


def test_resend_repeats_the_same_bytes() -> None:
    client = ClientConnection()
    seq, wire = client.send(echo("x"))
    assert client.resend(seq) == wire
    client.forget(seq)
    with pytest.raises(KeyError):
        client.resend(seq)


def test_an_unreadable_answer_leaves_the_request_outstanding() -> None:
    client = ClientConnection()
    seq, _ = client.send(echo("x"))
    header = Header(Op.WRITE, 2, 0, 0, 0, seq, 0)
    (event,) = client.receive_data(ServerConnection().reply(header, b"\xff"))
    assert isinstance(event, BadFrame)
    assert event.fault is FrameFault.MESSAGE
    (short,) = client.receive_data(encode_frame(b"\x03\x00"))
    assert isinstance(short, BadFrame)
    (good,) = client.receive_data(answer(echo("x"), seq, {"r": "x"}))
    assert isinstance(good, Response)


def test_log_lines_pass_through() -> None:
    client = ClientConnection()
    assert client.receive_data(b"I: Starting boot") == []
    assert client.receive_data(b"loader\r\n") == [LogLine(b"I: Starting bootloader")]


@pytest.mark.parametrize("version", [1, 2])
def test_requests_carry_the_connection_s_version(version: int) -> None:
    _, wire = ClientConnection(version=version).send(echo("x"))
    (request,) = ServerConnection().receive_data(wire)
    assert isinstance(request, RequestReceived)
    assert request.header.version == version
