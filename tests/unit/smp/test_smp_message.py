from __future__ import annotations

import cbor2
import pytest

from cryofw.smp import (
    Group,
    Header,
    Message,
    MessageError,
    Op,
    Request,
    decode_body,
    encode_body,
    split_packet,
)
from cryofw.smp.body import MAX_DEPTH


@pytest.mark.parametrize(
    ("wire", "header"),
    [
        ("0200000900000100", Header(Op.WRITE, 1, 0, 9, Group.OS, 1, 0)),
        ("0b00017c00010506", Header(Op.WRITE_RSP, 2, 0, 380, Group.IMAGE, 5, 6)),
        ("fdff000100400003", Header(5, 4, 255, 1, Group.CRYO, 0, 3, reserved=7)),
    ],
)
def test_header_both_ways(wire: str, header: Header) -> None:
    data = bytes.fromhex(wire)
    assert Header.decode(data) == header
    assert header.encode() == data


def test_a_short_header_is_refused() -> None:
    with pytest.raises(MessageError, match="cut"):
        Header.decode(bytes(7))


@pytest.mark.parametrize("field", ["length", "group", "seq", "command", "op"])
def test_a_header_field_that_does_not_fit_is_refused(field: str) -> None:
    values = {"op": 0, "length": 0, "group": 0, "seq": 0, "command": 0, field: 0x10000}
    with pytest.raises(MessageError, match="cannot be encoded"):
        Header(version=2, flags=0, **values).encode()


def test_message_both_ways() -> None:
    data = bytes.fromhex("0300000a00000100bf61726568656c6c6fff")
    message = Message.decode(data)
    assert message.body == {"r": "hello"}
    assert message.encode() == data
    assert not message.is_cut
    assert Message.decode(data[:-1]).is_cut


def test_request_carries_version_and_sequence_number() -> None:
    request = Request(Op.WRITE, Group.OS, 0, {"d": "hello"})
    assert request.encode(seq=1, version=1).hex() == "0200000900000100a161646568656c6c6f"
    assert request.encode(seq=1, version=2).hex() == "0a00000900000100a161646568656c6c6f"
    assert Request(Op.READ, Group.OS, 6).encode(seq=255).hex() == "080000010000ff06a0"


def test_a_request_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(MessageError):
        Request(Op.WRITE, Group.OS, 0, {"d": object()}).encode(seq=1)
    with pytest.raises(MessageError):
        Request(Op.WRITE, Group.OS, 0, {"d": bytes(70_000)}).encode(seq=1)


def test_two_messages_in_one_packet() -> None:
    one, two = (Request(Op.WRITE, 0, 0, {"d": d}).encode(seq=7) for d in ("one", "two"))
    assert [message.body for message in split_packet(one + two)] == [{"d": "one"}, {"d": "two"}]
    assert [message.encode() for message in split_packet(one + two)] == [one, two]


def test_what_cannot_be_a_message_stays_with_the_payload_before() -> None:
    data = bytearray(Request(Op.WRITE, 0, 0, {"d": "hi"}).encode(seq=7))
    data[3] = 2  # a length that is too short, as recorded: the server answers all the same
    (message,) = split_packet(bytes(data))
    assert message.body == {"d": "hi"}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ("", "ends in the middle"),
        ("a1", "longer than the message"),
        ("a16164", "ends in the middle"),
        ("a161645affffffff", "premature end"),
        ("bf6161", "ends in the middle"),
        ("ff", "break"),
        ("a1ff00", "break"),
        ("1c", "reserved length"),
        ("81", "longer than the message"),
        ("9bffffffffffffffff", "longer than the message"),
        ("bb7fffffffffffffff", "longer than the message"),
        ("a16161c11a514b67b0", "tag"),
        ("d9d9f7a0", "tag"),
        ("a1616182" + "81" * 300, "longer than|deeper|ends"),
        ("9f" * 300, "deeper"),
        ("a161" + "61" + "9f" * 20 + "ff" * 20, "deeper"),
        ("a161ff01", "string"),
        ("8101", "not a CBOR map"),
        ("01", "not a CBOR map"),
        ("f6", "not a CBOR map"),
    ],
)
def test_what_is_no_body_is_a_message_error(payload: str, why: str) -> None:
    with pytest.raises(MessageError, match=why):
        decode_body(bytes.fromhex(payload))


def test_bytes_after_the_map_are_ignored() -> None:
    assert decode_body(encode_body({"a": 1}) + b"\xff\xff") == {"a": 1}


def test_nesting_is_read_up_to_the_limit() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert decode_body(cbor2.dumps({"a": value})) == {"a": value}
    with pytest.raises(MessageError, match="deeper"):
        decode_body(cbor2.dumps({"a": [value]}))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"a": -1, "b": 1.5, "c": None, "d": True, "e": [], "f": {}, "g": b"\xff" * 300},
        {"n": 23, "o": 24, "p": 255, "q": 256, "r": 65536, "s": 1 << 32, "t": "é" * 100},
        {"list": [1, [2, {"a": [3]}], "x"], "z": float("inf")},
    ],
)
def test_body_round_trip(body: dict[str, object]) -> None:
    assert decode_body(encode_body(body)) == body


def test_indefinite_items_are_read() -> None:
    assert decode_body(bytes.fromhex("bf61619f0102ff61627f61786179ffff")) == {
        "a": [1, 2],
        "b": "xy",
    }
