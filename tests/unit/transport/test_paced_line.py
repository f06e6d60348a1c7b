"""The line that the benches measure with must itself be right."""

from __future__ import annotations

import os
import time
import tty

import cbor2
import pytest

from tests.bench.line_ceiling import ceiling_s, chunks, stop_and_wait_s, windowed_s
from tests.bench.paced_device import HEADER, LineSpec, PacedDevice, frame
from tests.bench.paced_lines import PacedLines

BYTE_S = 10 / 115200


def message(op: int, group: int, command: int, body: dict[str, object], seq: int = 0) -> bytes:
    payload = cbor2.dumps(body)
    return HEADER.pack(op | 8, 0, len(payload), group, seq, command) + payload


def echo(text: str) -> bytes:
    return frame(message(2, 0, 0, {"d": text}))


def uploads(spec: LineSpec, size: int) -> list[bytes]:
    """The packets of an upload as large as the ceiling's formula says."""
    off, packets = 0, []
    for data, _, _ in chunks(spec, size):
        body: dict[str, object] = {"off": off, "data": bytes(data)}
        if off == 0:
            body |= {"len": size, "sha": bytes(32)}
        whole = message(2, 1, 1, body)
        packets.append(whole if spec.raw else frame(whole))
        off += data
    return packets


def test_an_answer_comes_when_all_bytes_have_had_their_time() -> None:
    device = PacedDevice(LineSpec(round_trip_s=0.02))
    wire = echo("hello")

    [(due_s, answer)] = device.feed(5.0, wire)

    expected_s = 5.0 + (len(wire) + len(answer)) * BYTE_S + 0.02
    assert due_s == pytest.approx(expected_s, abs=100e-6)


def test_bytes_in_pieces_take_no_less_time() -> None:
    whole, pieces = PacedDevice(LineSpec()), PacedDevice(LineSpec())
    wire = echo("x" * 300) + echo("y" * 300)

    at_once = whole.feed(0.0, wire)
    in_pieces = [one for i in range(len(wire)) for one in pieces.feed(0.0, wire[i : i + 1])]

    assert [answer for _, answer in at_once] == [answer for _, answer in in_pieces]
    for (one_s, _), (other_s, _) in zip(at_once, in_pieces, strict=True):
        assert one_s == pytest.approx(other_s, abs=1e-9)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("buffer_size", [384, 1024])
@pytest.mark.parametrize("flash_s_per_kib", [0.0, 0.003, 0.3])
def test_the_formula_is_what_the_device_does(
    buffer_size: int, flash_s_per_kib: float, raw: bool
) -> None:
    size = 20_000
    for round_trip_s in (0.0, 0.02):
        spec = LineSpec(
            buffer_size=buffer_size,
            buffer_count=1,
            flash_s_per_kib=flash_s_per_kib,
            round_trip_s=round_trip_s,
            raw=raw,
        )
        now_s, waiting = 0.0, PacedDevice(spec)
        for packet in uploads(spec, size):
            [(now_s, _)] = waiting.feed(now_s, packet)
        assert now_s == pytest.approx(stop_and_wait_s(spec, size), rel=0.005)
        assert ceiling_s(spec, size) == stop_and_wait_s(spec, size)

        endless = LineSpec(**{**vars(spec), "buffer_count": 10_000})
        busy = PacedDevice(endless)
        last_s = busy.feed(0.0, b"".join(uploads(spec, size)))[-1][0]
        assert last_s == pytest.approx(windowed_s(endless, size), rel=0.005)
        assert busy.report()["size"] == size
        assert busy.report()["first_s"] == 0.0


def test_packets_that_find_no_buffer_are_lost_in_silence() -> None:
    slow = LineSpec(buffer_count=4, flash_s_per_kib=10.0)
    device = PacedDevice(slow)

    answers = device.feed(0.0, b"".join(uploads(slow, 8_000)))

    # One is written with its answer's buffer beside it, two more wait; the rest finds nothing.
    assert len(answers) == 3
    assert device.report()["lost_packets"] == len(uploads(slow, 8_000)) - 3

    single = PacedDevice(LineSpec(buffer_count=1))
    assert len(single.feed(0.0, echo("a" * 200) + echo("b" * 200))) == 1


def test_what_is_too_long_or_damaged_is_lost_in_silence() -> None:
    device = PacedDevice(LineSpec(buffer_size=384))
    fits, too_long = (message(2, 0, 0, {"d": "x" * count}) for count in (366, 367))
    assert (len(fits), len(too_long)) == (380, 381)

    assert len(device.feed(0.0, frame(fits))) == 1
    assert device.feed(1.0, frame(too_long)) == []
    damaged = bytearray(echo("hello"))
    damaged[10] ^= 1
    assert device.feed(2.0, bytes(damaged)) == []
    assert len(device.feed(3.0, b"uart:~$ help\n" + echo("hello"))) == 1
    assert (device.lost_packets, device.bad_packets) == (1, 1)


def test_a_raw_line_forgets_half_a_message_after_a_silence() -> None:
    request = message(2, 0, 0, {"d": "hello"})
    device = PacedDevice(LineSpec(raw=True))

    assert device.feed(0.0, request[:-1]) == []
    [(_, answer)] = device.feed(5.0, request)
    assert answer.endswith(b"ehello")
    assert device.feed(6.0, echo("console")) == []  # begins no request: dropped at once
    assert len(device.feed(6.5, request)) == 1


@pytest.mark.realtime
@pytest.mark.parametrize("baud", [115200, 1_000_000])
def test_a_pty_is_as_slow_as_the_line(baud: int) -> None:
    wire = echo("x" * 900)
    with PacedLines(LineSpec(baud=baud)) as lines:
        descriptor = os.open(lines.ports[0], os.O_RDWR | os.O_NOCTTY)
        tty.setraw(descriptor)
        took_s = []
        for _ in range(5):
            begun_s = time.monotonic()
            os.write(descriptor, wire)
            got = b""
            while len(got) < len(wire):
                got += os.read(descriptor, 4096)
            took_s.append(time.monotonic() - begun_s)
        os.close(descriptor)
        [report] = lines.reports()

    line_s = 2 * len(wire) * 10 / baud
    assert min(took_s) >= line_s
    assert min(took_s) < line_s * 1.05  # the best of five: others use this computer too
    assert (report.packets, report.unread, report.sha) == (5, 0, None)
