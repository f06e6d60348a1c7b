"""Framing: no portioning, noise or damage changes what a good frame says."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cryofw.smp import BadFrame, Frame, FrameDecoder, LogLine, encode_frame
from cryofw.smp.framing import MAX_LINE, MAX_LOG_LINE

MESSAGES = st.one_of(st.binary(max_size=40), st.binary(min_size=80, max_size=800))
LOG_TEXT = st.binary(max_size=200).map(
    lambda data: bytes(byte for byte in data if byte not in b"\n\r\x04\x06")
)
MARKERS = [b"\x06\x09", b"\x04\x14", b"\n", b"\r\n", b"\x06", b"\x04", b"AAAA", b"x" * 130]
NOISE = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from(MARKERS), MESSAGES.map(encode_frame)),
    max_size=20,
).map(b"".join)


def portions(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=30)


def decode(data: bytes, cuts: list[int], *, mid_line: bool = True) -> list[object]:
    decoder = FrameDecoder(starts_mid_line=mid_line)
    return [event for part in portions(data, cuts) for event in decoder.feed(part)]


@given(MESSAGES, CUTS)
def test_round_trip_in_any_portions(message: bytes, cuts: list[int]) -> None:
    assert decode(encode_frame(message), cuts) == [Frame(message)]


@given(st.lists(st.tuples(MESSAGES, st.lists(LOG_TEXT, max_size=8)), max_size=5), CUTS)
def test_log_lines_between_the_lines_of_packets_change_nothing(
    packets: list[tuple[bytes, list[bytes]]], cuts: list[int]
) -> None:
    wire = b""
    for message, logs in packets:
        rest = list(logs)
        for line in encode_frame(message).splitlines(keepends=True):
            if rest:
                wire += rest.pop() + b"\r\n"
            wire += line
        wire += b"".join(log + b"\n" for log in rest)
    events = decode(wire, cuts)
    assert [event for event in events if isinstance(event, Frame)] == [
        Frame(message) for message, _ in packets
    ]
    logs = [event.data for event in events if isinstance(event, LogLine)]
    assert sorted(logs) == sorted(log for _, lines in packets for log in lines if log)
    assert not [event for event in events if isinstance(event, BadFrame)]


@given(NOISE, CUTS, st.booleans())
def test_events_do_not_depend_on_the_portions(noise: bytes, cuts: list[int], mid: bool) -> None:
    assert decode(noise, cuts, mid_line=mid) == decode(noise, [], mid_line=mid)


@given(NOISE, MESSAGES)
def test_after_any_noise_the_next_good_frame_works(noise: bytes, message: bytes) -> None:
    decoder = FrameDecoder(starts_mid_line=False)
    decoder.feed(noise + b"\n")
    events = decoder.feed(encode_frame(message))
    assert events[-1] == Frame(message)
    assert all(isinstance(event, BadFrame) for event in events[:-1])
    client = FrameDecoder()
    client.feed(noise)
    assert client.feed(encode_frame(message))[-1] == Frame(message)


@given(MESSAGES.filter(bool), st.data())
def test_a_flipped_bit_never_gives_another_message(message: bytes, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(message))
    bit = data.draw(st.integers(0, len(wire) * 8 - 1))
    wire[bit // 8] ^= 1 << bit % 8
    events = FrameDecoder().feed(bytes(wire) + b"\n")
    assert [event for event in events if isinstance(event, Frame)] in ([], [Frame(message)])


@given(st.lists(NOISE, max_size=10), st.booleans())
def test_the_decoder_holds_at_most_one_line_and_one_packet(
    noise: list[bytes], mid_line: bool
) -> None:
    decoder = FrameDecoder(starts_mid_line=mid_line)
    for part in noise:
        decoder.feed(part)
        assert decoder.held <= MAX_LOG_LINE + 0xFFFF + MAX_LINE


def test_endless_input_holds_nothing_more() -> None:
    start = b"\x06\x09" + b"//8A" * 31 + b"\n"  # announces 64 KiB
    more = b"\x04\x14" + b"AAAA" * 31 + b"\n"
    decoder = FrameDecoder()
    decoder.feed(start)
    for _ in range(2000):
        decoder.feed(more)
        assert decoder.held <= 0xFFFF + MAX_LINE
    for filler in (b"x", b"\x06\x09", b"\x06\x09A"):
        for _ in range(200):
            decoder.feed(filler * 100)
        assert decoder.held <= MAX_LOG_LINE
