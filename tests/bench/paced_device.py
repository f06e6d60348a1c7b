"""One device on one serial line, as a timeline: which byte is where, and when.

The device is a function of the bytes that it gets and of when they were put on the line, so all
that follows from them (arrival, buffers, flash, answer) is computed at once, and only the answers
have to be delivered later. That makes a line exact and cheap: no timer for each byte.

What it is honest about:

- Both directions carry 10 bits a byte (8N1), at the same time; nothing arrives faster.
- Half of `round_trip_s` passes on the way there, half on the way back (a gateway, a radio).
- A line of the framing needs one of `line_buffers` until it is decoded (`LINE_WORK_S`).
- A packet needs one of `buffer_count` buffers from its first line until its answer has left; with
  more than one buffer the answer takes one too, as in Zephyr. MCUboot's recovery has a single one
  and a place of its own for answers. Without a free buffer a packet is lost in silence.
- One packet is worked on at a time: flash first, then the answer is sent, byte by byte.
- With raw framing half a message is dropped after `RAW_INPUT_TIMEOUT_S` of silence.
- A packet of more than `buffer_size` bytes, length and CRC included, is lost in silence.

It shares no code with cryofw: it is the other side. Sources: Zephyr's smp_uart.c, serial_util.c
and smp.c; MCUboot's boot_serial.c.
"""

from __future__ import annotations

import hashlib
import struct
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64, crc_hqx
from collections import deque
from dataclasses import dataclass
from typing import Any

import cbor2

BITS_PER_BYTE = 10  # 8N1: start, eight data bits, stop
LONGEST_LINE = 127
LINE_WORK_S = 50e-6
RAW_INPUT_TIMEOUT_S = 3.0
SLOT_SIZE = 0x100000
HEADER = struct.Struct("!BBHHBB")
OK, NOT_SUPPORTED = {"rc": 0}, {"rc": 8}
FACTORY_HASH = hashlib.sha256(b"factory").digest()


@dataclass(frozen=True)
class LineSpec:
    """One kind of line with its device.

    Attributes:
        baud: bits per second.
        buffer_size: bytes of a packet buffer, with length and CRC (Zephyr's `buf_size`).
        buffer_count: packet buffers (Zephyr's `buf_count`).
        line_buffers: lines of the framing that can wait to be decoded.
        flash_s_per_kib: seconds that writing 1024 bytes takes.
        round_trip_s: seconds that a bit needs there and back, on top of the line's own time.
        raw: header and body go bare, without base64 and CRC (Zephyr's raw UART).
    """

    baud: int = 115200
    buffer_size: int = 1024
    buffer_count: int = 4
    line_buffers: int = 2
    flash_s_per_kib: float = 0.0
    round_trip_s: float = 0.0
    raw: bool = False

    @property
    def byte_s(self) -> float:
        """Seconds that one byte takes on the line."""
        return BITS_PER_BYTE / self.baud


class PacedDevice:
    """One device; `feed` gives it what the host wrote, and returns what it will answer, and when.

    Counters are plain attributes; `report` returns them.
    """

    def __init__(self, spec: LineSpec) -> None:
        self._spec = spec
        self._way_s = spec.round_trip_s / 2
        self._line_free_s = 0.0  # the host's bytes so far are on the line until then
        self._reply_free_s = 0.0  # the device works or sends until then
        self._line = bytearray()
        self._line_begun_s = 0.0
        self._heard_s = 0.0
        self._decoded_s: deque[float] = deque([0.0] * spec.line_buffers, spec.line_buffers)
        self._held: deque[float] = deque()  # when the buffers of requests come free
        self._packet: bytearray | None = None
        self._packet_begun_s = 0.0
        self._replies: list[tuple[float, bytes]] = []
        self.forget()

    def forget(self) -> None:
        """Empty slot 1 and the counters."""
        self._upload = bytearray()
        self._upload_size = 0
        self._upload_sha: bytes | None = None
        self._slot_1: bytes | None = None
        self.packets = self.repeated = self.bytes_in = self.bytes_out = 0
        self.lost_lines = self.lost_packets = self.bad_packets = 0
        self.first_s: float | None = None
        self.last_s: float | None = None

    @property
    def line_free_s(self) -> float:
        """When the last of the host's bytes will have left the host."""
        return self._line_free_s

    def feed(self, now_s: float, data: bytes) -> list[tuple[float, bytes]]:
        """Put the host's bytes on the line; return (time at the host, bytes) of the answers."""
        byte_s = self._spec.byte_s
        start_s = max(now_s, self._line_free_s)
        self._line_free_s = start_s + len(data) * byte_s
        self.bytes_in += len(data)
        self._replies = []
        if self._spec.raw:
            self._feed_raw(start_s, data)
            return self._replies
        at = 0
        while at < len(data):
            if not self._line:
                self._line_begun_s = start_s + at * byte_s
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                break
            self._line += data[at:end]
            at = end + 1
            self._take_line(start_s + at * byte_s + self._way_s)
            self._line.clear()
        return self._replies

    def report(self) -> dict[str, Any]:
        """Return the counters, the hash of what slot 1 holds, and when the upload ran."""
        held = self._slot_1
        return {
            "sha": hashlib.sha256(held).hexdigest() if held is not None else None,
            "size": len(held) if held is not None else 0,
            "offset": len(self._upload),
            "first_s": self.first_s,
            "last_s": self.last_s,
            "packets": self.packets,
            "repeated": self.repeated,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "lost_lines": self.lost_lines,
            "lost_packets": self.lost_packets,
            "bad_packets": self.bad_packets,
        }

    def _take_line(self, at_s: float) -> None:
        line = self._line
        marker = bytes(line[:2])
        if marker not in (b"\x06\x09", b"\x04\x14"):
            return  # a shell's line; it has buffers of its own
        if self._decoded_s[0] > at_s or len(line) + 1 > LONGEST_LINE:
            self.lost_lines += 1
            self._packet = None
            return
        at_s = max(at_s, self._decoded_s[-1]) + LINE_WORK_S
        self._decoded_s.append(at_s)
        if marker == b"\x06\x09":
            self._packet_begun_s = self._line_begun_s
            self._packet = bytearray() if self._in_use(at_s) < self._spec.buffer_count else None
            if self._packet is None:
                self.lost_packets += 1
        if self._packet is None:
            return
        try:
            self._packet += a2b_base64(memoryview(line)[2:], strict_mode=True)
        except Base64Error:
            self.bad_packets += 1
            self._packet = None
            return
        whole = 2 + int.from_bytes(self._packet[:2], "big")
        if len(self._packet) >= whole:
            self._take_packet(bytes(self._packet), whole, at_s)
            self._packet = None

    def _take_packet(self, packet: bytes, whole: int, at_s: float) -> None:
        message = packet[2:-2]
        if len(packet) != whole or crc_hqx(message, 0) != int.from_bytes(packet[-2:], "big"):
            self.bad_packets += 1
        elif len(packet) > self._spec.buffer_size:
            self.lost_packets += 1
        else:
            self._answer(message, at_s)

    def _feed_raw(self, start_s: float, data: bytes) -> None:
        """Bare messages, one after the other; the length in the header parts them."""
        if start_s - self._heard_s > RAW_INPUT_TIMEOUT_S:
            self._line.clear()
        self._heard_s = self._line_free_s
        if not self._line:
            self._line_begun_s = start_s
        kept = len(self._line)
        self._line += data
        done = 0
        while len(self._line) - done >= HEADER.size:
            size = HEADER.size + int.from_bytes(self._line[done + 2 : done + 4], "big")
            if self._line[done] & 7 not in (0, 2) or size > self._spec.buffer_size:
                self.bad_packets += 1
                done = len(self._line)
                break
            if len(self._line) - done < size:
                break
            first_at = max(done - kept, 0)
            begun_s = self._line_begun_s if done < kept else start_s + first_at * self._spec.byte_s
            message = bytes(self._line[done : done + size])
            done += size
            at_s = start_s + (done - kept) * self._spec.byte_s + self._way_s
            self._packet_begun_s = begun_s
            if size > self._spec.buffer_size or self._in_use(begun_s) >= self._spec.buffer_count:
                self.lost_packets += 1
            else:
                self._answer(message, at_s)
            self._line_begun_s = start_s + (done - kept) * self._spec.byte_s
        del self._line[:done]

    def _in_use(self, at_s: float) -> int:
        while self._held and self._held[0] <= at_s:
            self._held.popleft()
        if self._held and self._spec.buffer_count > 1:
            return len(self._held) + 1  # one is worked on, and its answer has a buffer too
        return len(self._held)

    def _answer(self, message: bytes, at_s: float) -> None:
        op, _, length, group, seq, command = HEADER.unpack_from(message)
        # The buffers of the packet before come free at that moment: the answer's is always there.
        begin_s = max(at_s, self._reply_free_s)
        payload = message[HEADER.size : HEADER.size + length]
        body, flash_s, upload = self._carry_out(op & 7, group, command, payload)
        head = HEADER.pack(((op & 7) + 1) | (op & 0x18), 0, len(body), group, seq, command)
        reply = head + body if self._spec.raw else frame(head + body)
        self._reply_free_s = begin_s + flash_s + len(reply) * self._spec.byte_s
        self._held.append(self._reply_free_s)
        self.packets += 1
        self.bytes_out += len(reply)
        due_s = self._reply_free_s + self._way_s
        if upload:
            self.first_s = self._packet_begun_s if self.first_s is None else self.first_s
            self.last_s = due_s
        self._replies.append((due_s, reply))

    def _carry_out(
        self, op: int, group: int, command: int, payload: bytes
    ) -> tuple[bytes, float, bool]:
        """Return the answer's body, the seconds of flash it costs, and if it is of an upload."""
        try:
            request = cbor2.loads(payload)
        except cbor2.CBORDecodeError:
            return cbor2.dumps({"rc": 3}), 0.0, False
        match (op, group, command):
            case (2, 1, 1):
                body, written = self._take_chunk(request)
                return body, written / 1024 * self._spec.flash_s_per_kib, True
            case (0, 1, 0):
                return cbor2.dumps(self._state()), 0.0, False
            case (0, 1, 6):
                sizes = [{"slot": 0, "size": SLOT_SIZE}, {"slot": 1, "size": SLOT_SIZE}]
                slots = {"image": 0, "slots": sizes, "max_image_size": SLOT_SIZE - 0x1000}
                return cbor2.dumps({"images": [slots]}), 0.0, False
            case (2, 1, 5):
                self._slot_1 = None
                return cbor2.dumps(OK), 0.0, False
            case (0 | 2, 0, 0):
                return cbor2.dumps({"r": request.get("d", "")}), 0.0, False
            case (0, 0, 6):
                spec = self._spec
                told = {"buf_size": spec.buffer_size, "buf_count": spec.buffer_count}
                return cbor2.dumps(told), 0.0, False
            case (0, 0, 7):
                text = "Zephyr" if request.get("format", "s") == "s" else "cc40"
                return cbor2.dumps({"output": text}), 0.0, False
            case (0, 0, 8):
                answer = {"mode": 3} if request.get("query") else {"bootloader": "MCUboot"}
                return cbor2.dumps(answer), 0.0, False
            case _:
                return cbor2.dumps(NOT_SUPPORTED), 0.0, False

    def _take_chunk(self, request: dict[str, Any]) -> tuple[bytes, int]:
        off, data = request.get("off"), request.get("data", b"")
        if off == 0 and "len" in request:
            sha = request.get("sha")
            if self._slot_1 is not None and sha == hashlib.sha256(self._slot_1).digest():
                return _upload_answer(len(self._slot_1), match=True), 0
            if not (sha and sha == self._upload_sha and self._upload):
                self._upload, self._slot_1 = bytearray(), None
                self._upload_size, self._upload_sha = request["len"], sha
        if off != len(self._upload) or not self._upload_size:
            self.repeated += 1
            return _upload_answer(len(self._upload)), 0
        self._upload += data
        if len(self._upload) < self._upload_size:
            return _upload_answer(len(self._upload)), len(data)
        self._slot_1, self._upload = bytes(self._upload), bytearray()
        self._upload_size = 0
        good = hashlib.sha256(self._slot_1).digest() == self._upload_sha
        return _upload_answer(len(self._slot_1), match=good), len(data)

    def _state(self) -> dict[str, object]:
        def slot(number: int, version: str, image_hash: bytes, running: bool) -> dict[str, object]:
            return {
                "slot": number,
                "version": version,
                "hash": image_hash,
                "bootable": True,
                "pending": False,
                "confirmed": running,
                "active": running,
                "permanent": False,
            }

        images = [slot(0, "1.0.0", FACTORY_HASH, True)]
        if self._slot_1 is not None:
            images.append(slot(1, "1.1.0", _image_hash(self._slot_1), False))
        return {"images": images, "splitStatus": 0}


def frame(message: bytes) -> bytes:
    """Frame a message for a console line."""
    crc = crc_hqx(message, 0)
    text = b2a_base64(
        struct.pack("!H", len(message) + 2) + message + struct.pack("!H", crc), newline=False
    )
    pieces = [text[at : at + 124] for at in range(0, len(text), 124)]
    marks = [b"\x06\x09"] + [b"\x04\x14"] * (len(pieces) - 1)
    return b"".join(mark + piece + b"\n" for mark, piece in zip(marks, pieces, strict=True))


def _upload_answer(off: int, *, match: bool | None = None) -> bytes:
    """As Zephyr sends it: a map without a length, and no `rc`."""
    body = b"\xbf\x63off" + cbor2.dumps(off)
    if match is not None:
        body += b"\x65match" + cbor2.dumps(match)
    return body + b"\xff"


def _image_hash(image: bytes) -> bytes:
    """Return the SHA-256 that the image carries in its TLVs."""
    header_size, protected, size = struct.unpack_from("<HHI", image, 8)
    at = header_size + size + protected + 4
    while at + 4 <= len(image):
        kind, length = struct.unpack_from("<HH", image, at)
        if kind == 0x10:
            return image[at + 4 : at + 4 + length]
        at += 4 + length
    return bytes(32)
