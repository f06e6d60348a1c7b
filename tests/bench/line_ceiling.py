"""What a line can carry at most, by formula.

The bytes of an upload packet: header 8, a map of `off` and `data` without anything else, length
and CRC 4, base64 of it in lines of 124 characters with 2 bytes of mark and a newline. The first
packet carries length and SHA-256 too. Chunks are as large as the device's buffer lets them be.

    stop-and-wait    each packet: bytes there + round trip + flash + bytes of the answer back
    with a window    each packet: the slowest of line, or flash + answer (the device does one
                     thing at a time); plus, once, the way of the last packet and its answer

The second bound holds for any client, however large its window: `window_share` says what part of
it a client can reach that never has more than `buf_count` packets under way, which binds only
where the round trip is longer than those packets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cbor2

from tests.bench.paced_device import frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.paced_device import LineSpec

_HEADER = 8
_FRAME = 4


def chunks(spec: LineSpec, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (data bytes, packet bytes on the line, answer bytes on the line) of each packet."""
    off = 0
    while off < size:
        room = spec.buffer_size - (0 if spec.raw else _FRAME) - _HEADER
        data = min(_data_size(room, off, size), size - off)
        request = _HEADER + _body_size(off, size, data)
        off += data
        # A map of no stated length with `off`; with the last packet `match` too.
        answer = _HEADER + 2 + 4 + len(cbor2.dumps(off)) + (7 if off == size else 0)
        yield data, _wire(spec, request), _wire(spec, answer)


def stop_and_wait_s(spec: LineSpec, size: int) -> float:
    """Seconds of an upload with one packet under way."""
    return sum(
        (there + back) * spec.byte_s + spec.round_trip_s + _flash_s(spec, data)
        for data, there, back in chunks(spec, size)
    )


def windowed_s(spec: LineSpec, size: int) -> float:
    """Seconds of an upload that never waits: the line or the flash is always busy."""
    packets = list(chunks(spec, size))
    line_s = sum(there for _, there, _ in packets) * spec.byte_s
    work_s = sum(_flash_s(spec, data) + back * spec.byte_s for data, _, back in packets)
    data, _, back = packets[-1]
    tail_s = _flash_s(spec, data) + back * spec.byte_s
    first_s = packets[0][1] * spec.byte_s
    return max(line_s + tail_s, first_s + work_s) + spec.round_trip_s


def ceiling_s(spec: LineSpec, size: int) -> float:
    """Seconds that an upload of `size` bytes takes at least."""
    single = spec.buffer_count == 1
    return stop_and_wait_s(spec, size) if single else windowed_s(spec, size)


def window_share(spec: LineSpec, size: int) -> float:
    """Part of the ceiling within reach of `buf_count` packets under way; 1.0: all of it."""
    if spec.buffer_count == 1:
        return 1.0
    stop_s, full_s = stop_and_wait_s(spec, size), windowed_s(spec, size)
    return min(1.0, full_s / max(full_s, stop_s / spec.buffer_count))


def _flash_s(spec: LineSpec, data: int) -> float:
    return data / 1024 * spec.flash_s_per_kib


def _body_size(off: int, size: int, data: int) -> int:
    body: dict[str, object] = {"off": off, "data": bytes(data)}
    if off == 0:
        body |= {"len": size, "sha": bytes(32)}
    return len(cbor2.dumps(body))


def _data_size(room: int, off: int, size: int) -> int:
    data = room - _body_size(off, size, 0)
    while _body_size(off, size, data) > room:
        data -= 1
    return data


def _wire(spec: LineSpec, message: int) -> int:
    return message if spec.raw else len(frame(bytes(message)))
