"""Every recorded message of real servers decodes, and silence is where theirs was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from cryofw.smp import (
    BadFrame,
    ClientConnection,
    Frame,
    FrameDecoder,
    Message,
    Op,
    Request,
    RequestReceived,
    Response,
    ServerConnection,
    encode_frame,
    split_packet,
)

ROOT = Path(__file__).parents[3]
COMPACT = ROOT / "tests" / "vectors" / "smp_exchanges.jsonl"
FULL = (
    Path(os.environ.get("CRYOFW_VECTORS", ROOT.parent / "shared" / "vectors"))
    / "smp-recordings.jsonl"
)
TABLES = [path for path in (COMPACT, FULL) if path.exists()]
APPLICATION_PACKET = 380  # NETBUF_SIZE 384 less length and CRC
CBOR_ERROR = "$cbor_error"


@dataclass(frozen=True)
class Answer:
    header: tuple[int, ...]
    body: object


@dataclass(frozen=True)
class Exchange:
    id: int
    recording: str
    name: str
    request: bytes
    header: tuple[int, ...] | None
    body: object
    response: bytes
    answers: tuple[Answer, ...]
    message: bytes | None = field(default=None, compare=False)  # told by the full recordings


KEYS = ("op", "version", "flags", "length", "group", "seq", "cmd", "res")


def header_of(fields: Mapping[str, int] | list[int] | None) -> tuple[int, ...] | None:
    if fields is None or (isinstance(fields, Mapping) and "op" not in fields):
        return None
    return tuple(fields) if isinstance(fields, list) else tuple(fields[key] for key in KEYS)


def plain(value: object) -> object:
    """A body in the table's form, whether it was recorded or decoded here."""
    if isinstance(value, bytes):
        return plain({"$hex": value.hex()})
    if isinstance(value, Mapping):
        if set(value) == {"$hex"}:
            data = bytes.fromhex(value["$hex"])
            return {"$sha256": sha256(data).hexdigest()} if len(data) > 64 else dict(value)
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def joined(wire: bytes) -> bytes:
    """Framed bytes without the line breaks: Zephyr breaks its lines earlier than need be."""
    return wire.replace(b"\r\n", b"\n").replace(b"\n\x04\x14", b"")


def read_answers(row: Mapping[str, object]) -> tuple[Answer, ...]:
    pairs = row.get("answers")
    if pairs is None:
        responses = row["responses"]
        assert isinstance(responses, list)
        pairs = [[item["header"], item["cbor"]] for item in responses]
    assert isinstance(pairs, list)
    return tuple(Answer(header_of(header) or (), plain(body)) for header, body in pairs)


def read_row(row: dict[str, object]) -> Exchange | None:
    """One line of either table; None for a boot event."""
    if "event" in row:
        return None
    request = row["request"]
    compact = isinstance(request, str)
    full = row if compact else request
    assert isinstance(full, dict)
    return Exchange(
        id=int(str(row["id"])),
        recording=str(row["recording"]),
        name=str(row["name"]),
        request=bytes.fromhex(str(request if compact else full["wire_hex"])),
        header=header_of(full["header"]),
        body=plain(full["body" if compact else "cbor"]),
        response=bytes.fromhex(str(row["response" if compact else "response_wire_hex"])),
        answers=read_answers(row),
        message=None if compact else bytes.fromhex(str(full["smp_hex"])),
    )


def read_rows(path: Path) -> list[dict[str, object]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines][1:]


def read_table(path: Path) -> list[Exchange | None]:
    return [read_row(row) for row in read_rows(path)]


def exchanges(path: Path) -> list[Exchange]:
    found = [exchange for exchange in read_table(path) if exchange is not None]
    assert len(found) == 488
    return found


def numbers(message: Message) -> tuple[int, ...]:
    head = message.header
    wire_version = head.version - 1
    return (
        *(head.op, wire_version, head.flags, head.length, head.group, head.seq, head.command),
        head.reserved,
    )


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_response_decodes_as_recorded(path: Path) -> None:
    decoded = 0
    for exchange in exchanges(path):
        events = FrameDecoder().feed(exchange.response)
        packets = [event.message for event in events if isinstance(event, Frame)]
        assert not [event for event in events if isinstance(event, BadFrame)], exchange.name
        answers = [Message.decode(packet) for packet in packets]
        found = tuple(Answer(numbers(answer), plain(answer.body)) for answer in answers)
        assert found == exchange.answers, exchange.name
        for packet, answer in zip(packets, answers, strict=True):
            assert answer.encode() == packet
            assert joined(encode_frame(packet)) in joined(exchange.response)
        decoded += len(answers)
    assert decoded == 443


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_server_hears_what_the_recorded_servers_heard(path: Path) -> None:
    """In order, on one connection until the device boots: half lines last across exchanges."""
    servers: dict[str, ServerConnection] = {}
    answered = silent = 0
    for exchange in read_table(path):
        if exchange is None:
            servers.clear()
            continue
        application = exchange.recording != "qemu_recovery"
        limit = APPLICATION_PACKET if application else None
        server = servers.setdefault(exchange.recording, ServerConnection(max_packet=limit))
        events = server.receive_data(exchange.request)
        requests = [event for event in events if isinstance(event, RequestReceived)]
        assert len(requests) == len(exchange.answers), exchange.name
        answered += len(requests)
        silent += not requests
        if requests:
            first = requests[0]
            assert numbers(Message(first.header, first.payload)) == exchange.header
            is_map = isinstance(exchange.body, dict) and CBOR_ERROR not in exchange.body
            assert plain(first.body) == (exchange.body if is_map else None), exchange.name
    assert (answered, silent) == (443, 49)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_replies_carry_the_headers_that_real_servers_send(path: Path) -> None:
    server = ServerConnection()
    compared = 0
    for exchange in exchanges(path):
        if exchange.header is None or len(exchange.answers) != 1:
            continue
        packet = next(
            event.message
            for event in FrameDecoder().feed(exchange.response)
            if isinstance(event, Frame)
        )
        requests = server.receive_data(exchange.request)
        for request in requests:
            if isinstance(request, RequestReceived):
                assert server.reply(request.header, packet[8:]) == encode_frame(packet)
                compared += 1
    assert compared > 400


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_client_that_asked_gets_each_recorded_answer(path: Path) -> None:
    matched = 0
    for exchange in exchanges(path):
        for answer in exchange.answers:
            op, version, _, _, group, seq, command, _ = answer.header
            client = ClientConnection(version=version + 1, first_seq=seq)
            asked = Request(Op(op - 1), group, command)
            assert client.send(asked)[0] == seq
            events = client.receive_data(exchange.response)
            responses = [event for event in events if isinstance(event, Response)]
            assert [plain(response.body) for response in responses] == [answer.body]
            body = answer.body
            assert isinstance(body, dict)
            refused = "err" in body or body.get("rc", 0) != 0
            assert (responses[0].error is not None) == refused, exchange.name
            matched += 1
    assert matched == 443


def is_what_was_meant(packet: bytes, exchange: Exchange) -> bool:
    if exchange.message is not None:
        return packet == exchange.message
    if exchange.header is None or len(packet) < 8:
        return exchange.header is None and len(packet) < 8
    message = split_packet(packet)[0]
    events = ServerConnection().receive_data(encode_frame(packet))
    body = events[0].body if isinstance(events[0], RequestReceived) else None
    is_map = isinstance(exchange.body, dict) and CBOR_ERROR not in exchange.body
    return numbers(message) == exchange.header and plain(body) == (
        exchange.body if is_map else None
    )


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_framed_bytes_and_message_bytes_agree(path: Path) -> None:
    damaged = 0
    for exchange in exchanges(path):
        events = FrameDecoder().feed(exchange.request)
        packets = [event.message for event in events if isinstance(event, Frame)]
        whole = [packet for packet in packets if is_what_was_meant(packet, exchange)]
        damaged += not whole
        for packet in whole:
            assert joined(encode_frame(packet))[:-1] in joined(exchange.request)
    assert damaged == 21  # the framing tests of the recordings


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_the_compact_table_is_the_recordings(path: Path) -> None:
    assert read_table(path) == read_table(COMPACT)
    events = [row for row in read_rows(path) if "event" in row]
    mine = [row for row in read_rows(COMPACT) if "event" in row]
    assert len(events) == 11
    for key in ("id", "recording", "scenario", "event", "console"):
        assert [row[key] for row in events] == [row[key] for row in mine]
