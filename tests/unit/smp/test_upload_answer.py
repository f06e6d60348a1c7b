"""The fast reading of upload answers: what the general decoders read, or nothing."""

from __future__ import annotations

import struct

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cryofw.smp import (
    ClientConnection,
    Frame,
    FrameDecoder,
    Group,
    Op,
    Request,
    Response,
    encode_frame,
    split_packet,
)
from cryofw.smp.messages import ImageCommand
from cryofw.smp.upload_answer import read_upload_answer

UPLOAD = Request(Op.WRITE, Group.IMAGE, ImageCommand.UPLOAD, {"off": 1, "data": b"x"})
OFFSETS = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1])
)
SEQS = st.integers(0, 255)


def message(seq: int, body: bytes, *, first: int = 0x0B, group: int = 1, command: int = 1) -> bytes:
    return struct.pack("!BBHHBB", first, 0, len(body), group, seq, command) + body


def body_of(off: int, *, rc: bool = False, open_ended: bool = True) -> bytes:
    pairs = {"rc": 0, "off": off} if rc else {"off": off}
    items = b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in pairs.items())
    return b"\xbf" + items + b"\xff" if open_ended else bytes([0xA0 + len(pairs)]) + items


def read_in_general(line: bytes) -> list[tuple[int, int, dict[str, object]]]:
    """Every upload answer in `line`: sequence number, `off`, and what else is in it."""
    found = []
    for event in FrameDecoder().feed(line):
        assert isinstance(event, Frame)
        for one in split_packet(event.message):
            header = one.header
            assert (header.op, header.group, header.command) == (Op.WRITE_RSP, 1, 1)
            body = dict(one.body)
            off = body.pop("off")
            assert isinstance(off, int)
            found.append((header.seq, off, body))
    return found


@given(SEQS, OFFSETS, st.booleans(), st.booleans(), st.sampled_from([0x03, 0x0B]))
def test_usual_answers_are_read(seq: int, off: int, rc: bool, open_ended: bool, first: int) -> None:
    body = body_of(off, rc=rc, open_ended=open_ended)
    line = encode_frame(message(seq, body, first=first))
    assert read_upload_answer(line) == (seq, off)
    assert read_in_general(line) == [(seq, off, {"rc": 0} if rc else {})]


NEARLY = st.tuples(
    SEQS,
    st.one_of(
        st.builds(body_of, OFFSETS, rc=st.booleans(), open_ended=st.booleans()),
        st.dictionaries(
            st.sampled_from(["off", "rc", "match", "err", "x"]),
            st.one_of(st.integers(-2, 2**33), st.booleans(), st.none(), st.binary(max_size=4)),
        ).map(cbor2.dumps),
        st.binary(max_size=12),
    ),
).map(lambda pair: message(*pair))


@given(NEARLY, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3))
@example(message(7, b"\xbf\x63off\x1a\x00\x00\x00\xff"), [])
@example(message(7, b"\xa1\x63off\x00") + message(8, b"\xa1\x63off\x01"), [])
def test_what_is_read_is_what_the_general_decoders_read(
    packet: bytes, damage: list[tuple[int, int]]
) -> None:
    spoiled = bytearray(packet)
    for at, value in damage:
        spoiled[at % len(spoiled)] = value
    line = encode_frame(bytes(spoiled))
    answer = read_upload_answer(line)
    if answer is not None:
        [(seq, off, rest)] = read_in_general(line)
        assert answer == (seq, off)
        assert rest in ({}, {"rc": 0})


@given(SEQS, OFFSETS, st.integers(0, 40), st.integers(0, 255))
def test_a_damaged_line_is_never_read_otherwise(seq: int, off: int, at: int, value: int) -> None:
    line = bytearray(encode_frame(message(seq, body_of(off))))
    line[at % len(line)] = value
    assert read_upload_answer(bytes(line)) in (None, (seq, off))


@pytest.mark.parametrize(
    "packet",
    [
        message(1, body_of(5), first=0x0A),
        message(1, body_of(5), first=0x2B),
        message(1, body_of(5), group=2),
        message(1, body_of(5), command=0),
        message(1, b"\xa2\x62rc\x06\x63off\x05"),
        message(1, b"\xa2\x63off\x05\x65match\xf5"),
        message(1, b"\xa1\x63off\x25"),
        message(1, body_of(5))[:-1],
        b"",
    ],
)
def test_everything_else_is_left_to_the_general_decoders(packet: bytes) -> None:
    assert read_upload_answer(encode_frame(packet)) is None


def test_a_connection_takes_usual_answers_and_leaves_the_rest() -> None:
    connection = ClientConnection()
    first, second, third = (connection.send(UPLOAD)[0] for _ in range(3))
    lines = [encode_frame(message(seq, body_of(10 + seq))) for seq in (first, second, third)]
    answers, rest = connection.receive_upload_answers(b"".join([*lines[:2], b"log\n", lines[2]]))
    assert answers == [(first, 10 + first), (second, 10 + second)]
    assert rest == b"log\n" + lines[2]
    assert connection.outstanding == (third,)
    _, answer = connection.receive_data(rest)
    assert isinstance(answer, Response)
    assert answer.seq == third


def test_an_answer_that_nothing_waits_for_is_left_to_the_general_decoders() -> None:
    connection = ClientConnection()
    seq, _ = connection.send(Request(Op.READ, Group.IMAGE, 0))
    line = encode_frame(message(seq, body_of(5)))
    assert connection.receive_upload_answers(line) == ([], line)
    late = encode_frame(message(seq + 1, body_of(5)))
    assert connection.receive_upload_answers(late) == ([], late)


def test_the_rest_of_a_line_is_left_to_the_general_decoders() -> None:
    connection = ClientConnection()
    seq, _ = connection.send(UPLOAD)
    line = encode_frame(message(seq, body_of(5)))
    assert connection.receive_upload_answers(line[:9]) == ([], line[:9])
    assert connection.receive_data(line[:9]) == []
    assert connection.receive_upload_answers(line[9:]) == ([], line[9:])
    [answer] = connection.receive_data(line[9:])
    assert isinstance(answer, Response)


def test_a_prepared_number_is_given_to_nobody_else() -> None:
    connection = ClientConnection(first_seq=255)
    prepared, _ = connection.prepare(lambda seq: message(seq, b""))
    others = [connection.send(UPLOAD)[0] for _ in range(255)]
    assert prepared == 255
    assert sorted(others) == list(range(255))
    connection.drop_prepared()
    assert connection.send(UPLOAD)[0] == 255
