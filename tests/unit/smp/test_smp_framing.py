from __future__ import annotations

import pytest

from cryofw.smp import BadFrame, Frame, FrameDecoder, FrameFault, LogLine, MessageError
from cryofw.smp.framing import MAX_LOG_LINE, MAX_MESSAGE, encode_frame

ECHO = bytes.fromhex("0200000900000100a161646568656c6c6f")
ECHO_WIRE = b"\x06\x09ABMCAAAJAAABAKFhZGVoZWxsb/0m\n"
GOOD = Frame(ECHO)
LONG = bytes(range(256)) * 2


def faults(events: list[Frame | LogLine | BadFrame]) -> list[object]:
    """Events with the bytes of bad frames left out."""
    return [event.fault if isinstance(event, BadFrame) else event for event in events]


def test_encodes_as_recorded() -> None:
    assert encode_frame(ECHO) == ECHO_WIRE


def test_lines_are_at_most_127_bytes() -> None:
    lines = encode_frame(LONG).split(b"\n")
    assert lines.pop() == b""
    assert lines[0][:2] == b"\x06\x09"
    assert {line[:2] for line in lines[1:]} == {b"\x04\x14"}
    assert [len(line) + 1 for line in lines[:-1]] == [127] * (len(lines) - 1)


@pytest.mark.parametrize("size", [0, 1, 89, 90, 91, 182, 183, MAX_MESSAGE])
def test_round_trip_at_the_edges_of_lines(size: int) -> None:
    message = bytes(size)
    assert FrameDecoder().feed(encode_frame(message)) == [Frame(message)]


def test_refuses_a_message_that_16_bits_cannot_count() -> None:
    with pytest.raises(MessageError, match="too long"):
        encode_frame(bytes(MAX_MESSAGE + 1))


def test_log_lines_come_out_between_and_inside_packets() -> None:
    first, second = encode_frame(LONG[:150]).splitlines(keepends=True)
    wire = b"[00:01] <inf> boot\r\n" + first + b"*** log\n\n\r\n" + second + b"bye\n"
    assert FrameDecoder().feed(wire) == [
        LogLine(b"[00:01] <inf> boot"),
        LogLine(b"*** log"),
        Frame(LONG[:150]),
        LogLine(b"bye"),
    ]


def test_log_text_is_readable_whatever_the_bytes() -> None:
    assert LogLine(b"ok \xc3\xa9 \xff").text == "ok é \\xff"


def test_carriage_returns_are_tolerated() -> None:
    wire = encode_frame(LONG).replace(b"\n", b"\r\n")
    assert FrameDecoder().feed(wire) == [Frame(LONG)]


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        (ECHO_WIRE.replace(b"ABMC", b"AAsC"), FrameFault.LENGTH),
        (ECHO_WIRE.replace(b"ABMC", b"ABUC"), FrameFault.INCOMPLETE),
        (encode_frame(ECHO).replace(b"AKFh", b"AKFi"), FrameFault.CRC),
        (encode_frame(ECHO).replace(b"AKFh", b"AK*h"), FrameFault.BASE64),
        (encode_frame(ECHO).replace(b"m\n", b"\n"), FrameFault.BASE64),
        (b"\x06\x09\n", FrameFault.LENGTH),
        (b"\x06\x09AAA=\n", FrameFault.LENGTH),
        (b"\x06\x09AAEA\n", FrameFault.LENGTH),
        (b"\x04\x14" + encode_frame(ECHO)[2:], FrameFault.STRAY_CONTINUATION),
        (encode_frame(LONG).replace(b"\n\x04\x14", b""), FrameFault.LONG_LINE),
    ],
)
def test_a_damaged_frame_is_told_and_the_next_good_one_works(
    wire: bytes, fault: FrameFault
) -> None:
    events = FrameDecoder().feed(wire + encode_frame(ECHO))
    assert faults(events) == [fault, GOOD]


def test_a_lost_line_shows_with_the_next_packet() -> None:
    lines = encode_frame(LONG).splitlines(keepends=True)
    decoder = FrameDecoder()
    assert decoder.feed(b"".join(lines[:-1])) == []
    assert faults(decoder.feed(encode_frame(ECHO))) == [FrameFault.INCOMPLETE, GOOD]
    assert faults(decoder.feed(b"".join(lines[1:]))) == [FrameFault.STRAY_CONTINUATION] * 5


def test_a_line_too_many_ends_the_packet() -> None:
    lines = encode_frame(LONG).splitlines(keepends=True)
    events = FrameDecoder().feed(b"".join([*lines[:3], lines[1], *lines[3:]]))
    assert faults(events) == [FrameFault.LENGTH, FrameFault.STRAY_CONTINUATION]


def test_a_client_finds_a_frame_after_other_text_on_its_line() -> None:
    good = encode_frame(ECHO)
    assert FrameDecoder().feed(b"uart:~$ " + good) == [LogLine(b"uart:~$ "), GOOD]
    assert faults(FrameDecoder().feed(good[:17] + good)) == [FrameFault.BASE64, GOOD]
    long_line = b"\x06\x09" + b"A" * 300
    assert faults(FrameDecoder().feed(long_line + good)) == [FrameFault.LONG_LINE, GOOD]


def test_a_server_reads_frames_only_at_line_starts() -> None:
    good = encode_frame(ECHO)
    decoder = FrameDecoder(starts_mid_line=False)
    assert faults(decoder.feed(good[:17] + good)) == [FrameFault.BASE64]
    assert decoder.feed(b"$ " + good) == [LogLine(b"$ " + good[:-1])]
    assert faults(decoder.feed(b"\x06\x09" + b"A" * 300 + good)) == [FrameFault.LONG_LINE]
    piece = b"x" * MAX_LOG_LINE
    assert decoder.feed(piece + good) == [LogLine(piece), LogLine(good[:-1])]
    assert decoder.feed(good) == [GOOD]


def test_endless_lines_come_out_in_pieces() -> None:
    decoder = FrameDecoder()
    events = decoder.feed(b"x" * 2500)
    assert events == [LogLine(b"x" * MAX_LOG_LINE)] * 2
    assert decoder.feed(b"y\n") == [LogLine(b"x" * (2500 - 2 * MAX_LOG_LINE) + b"y")]
