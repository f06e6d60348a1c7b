"""SMP console framing: messages as base64 lines between the log lines of a serial console.

`06 09` begins a packet and `04 14` continues it; each line ends with a newline and is at most
127 bytes long. The packet is len16 + message + crc16, len16 counting message and CRC; the CRC
is CRC-16/XMODEM over the message (Zephyr, "SMP over console").

The decoder takes any bytes in any portions and never raises: noise and device logs come out
as `LogLine`, damaged frames as `BadFrame`, and the next good frame works.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64, crc_hqx
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from cryofw.smp.body import MessageError

MAX_LINE: Final = 127
"""Bytes of one framed line, newline included."""
FRAME_OVERHEAD: Final = 4
"""Bytes that length and CRC add to a message; a server's `buf_size` counts them."""
MAX_MESSAGE: Final = 0xFFFF - 2
MAX_LOG_LINE: Final = 1024
"""Longer log lines come out in pieces of this many bytes."""

_START: Final = b"\x06\x09"
_CONTINUE: Final = b"\x04\x14"
_BASE64_PER_LINE: Final = 124
_MARKERS: Final = (_START, _CONTINUE)
_MARKER: Final = re.compile(b"\x06\x09|\x04\x14")


class Framing(StrEnum):
    """How messages lie on a serial line."""

    CONSOLE = "console"
    RAW = "raw"


class FrameFault(StrEnum):
    """Why bytes that looked like a frame gave no message."""

    BASE64 = "base64"
    CRC = "crc"
    LENGTH = "length"
    LONG_LINE = "long-line"
    STRAY_CONTINUATION = "stray-continuation"
    INCOMPLETE = "incomplete"
    MESSAGE = "message"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Frame:
    """One packet that arrived whole: the SMP message or messages in it."""

    message: bytes


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that is no frame, without its line end: the device's log, or noise."""

    data: bytes

    @property
    def text(self) -> str:
        """The line as text; bytes that are not UTF-8 are shown escaped."""
        return self.data.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A damaged frame, dropped.

    Attributes:
        fault: what was wrong.
        data: the line that showed it; of an incomplete packet its beginning without base64, of
            an unreadable message the message.
    """

    fault: FrameFault
    data: bytes


FrameEvent = Frame | LogLine | BadFrame


def encode_frame(message: bytes) -> bytes:
    """Return `message` as the lines to write on a console.

    Raises:
        MessageError: longer than the 16-bit length can say.
    """
    size = len(message)
    if size > MAX_MESSAGE:
        raise MessageError("the SMP message is too long", why=f"{size} bytes of {MAX_MESSAGE}")
    crc = crc_hqx(message, 0)
    packet = (size + 2).to_bytes(2, "big") + message + crc.to_bytes(2, "big")
    text = b2a_base64(packet, newline=False)
    if len(text) <= _BASE64_PER_LINE:
        return b"\x06\x09%b\n" % text
    cuts = range(0, len(text), _BASE64_PER_LINE)
    return _START + b"\n\x04\x14".join([text[i : i + _BASE64_PER_LINE] for i in cuts]) + b"\n"


class _Position(Enum):
    """What the next byte of the current line is part of."""

    LINE_START = "line-start"
    LOG = "log"  # a log line whose first pieces are out
    DROPPED = "dropped"  # the rest of a framed line that was too long


class FrameDecoder:
    """Turns the bytes of a serial line into frames, log lines and bad frames.

    Holds at most one line and one packet (64 KiB), whatever arrives; the events do not depend
    on how the bytes are cut into portions.

    Args:
        max_line: longest framed line, newline included; longer ones are dropped.
        starts_mid_line: also find a frame that begins after other text on its line (a log
            without a newline, a frame cut short). Real servers look at line starts only.
    """

    __slots__ = ("_events", "_max_line", "_packet", "_position", "_starts_mid_line", "_tail")

    def __init__(self, *, max_line: int = MAX_LINE, starts_mid_line: bool = True) -> None:
        self._max_line = max_line
        self._starts_mid_line = starts_mid_line
        self._tail = b""
        self._position = _Position.LINE_START
        self._packet = b""
        self._events: list[FrameEvent] = []

    @property
    def held(self) -> int:
        """Bytes held until more come; bounded by a log piece and a packet."""
        return len(self._tail) + len(self._packet)

    @property
    def is_amid(self) -> bool:
        """Whether what comes next may belong to what came before: a line or a packet is open."""
        return bool(self._tail or self._packet) or self._position is not _Position.LINE_START

    def feed(self, data: bytes) -> list[FrameEvent]:
        """Take the next bytes and return what they completed, in order."""
        if self._tail:
            data = self._tail + data
        if len(data) <= self._max_line and data[:2] == _START and self._is_one_line(data):
            self._take_frame_line(data[:-1])
            self._tail = b""
            events, self._events = self._events, []
            return events
        lines = data.split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._take_line(line, ended=True)
            self._position = _Position.LINE_START
        self._tail = self._take_line(rest, ended=False) if rest else b""
        events, self._events = self._events, []
        return events

    def _is_one_line(self, data: bytes) -> bool:
        """Whether this is one framed line and nothing else, as most answers are."""
        return (
            data.find(b"\n") == len(data) - 1
            and self._position is _Position.LINE_START
            and _MARKER.search(data, 2) is None
        )

    def _take_line(self, line: bytes, *, ended: bool) -> bytes:
        """Handle a line or the beginning of one; return the bytes to hold until more come."""
        if self._starts_mid_line:
            while found := _MARKER.search(line, 1):
                self._take_part(line[: found.start()], ended=True)
                self._position = _Position.LINE_START
                line = line[found.start() :]
        return self._take_part(line, ended=ended)

    def _take_part(self, part: bytes, *, ended: bool) -> bytes:
        at_start = self._position is _Position.LINE_START or self._starts_mid_line
        if at_start and part[:2] in _MARKERS:
            if len(part) <= self._max_line:
                if not ended:
                    return part
                self._take_frame_line(part)
                return b""
            self._bad(FrameFault.LONG_LINE, part[: self._max_line])
            self._position = _Position.DROPPED
        if self._position is _Position.DROPPED:
            return part[-1:]  # may be the first half of a marker
        while len(part) > MAX_LOG_LINE:
            self._events.append(LogLine(part[:MAX_LOG_LINE]))
            part = part[MAX_LOG_LINE:]
            self._position = _Position.LOG
        if not ended:
            return part
        if text := part.rstrip(b"\r"):
            self._events.append(LogLine(text))
        return b""

    def _take_frame_line(self, line: bytes) -> None:
        pending, self._packet = self._packet, b""
        if line.startswith(_START):
            if pending:
                self._bad(FrameFault.INCOMPLETE, pending[: self._max_line])
                pending = b""
        elif not pending:
            return self._bad(FrameFault.STRAY_CONTINUATION, line)
        try:
            packet = pending + a2b_base64(line[2:].rstrip(b"\r"), strict_mode=True)
        except Base64Error:
            return self._bad(FrameFault.BASE64, line)
        missing = int.from_bytes(packet[:2], "big") + 2 - len(packet)
        if missing > 0 and len(packet) > 2:
            self._packet = packet
        elif missing < 0 or len(packet) < FRAME_OVERHEAD:
            self._bad(FrameFault.LENGTH, line)
        elif crc_hqx(packet[2:], 0):
            self._bad(FrameFault.CRC, line)
        else:
            self._events.append(Frame(packet[2:-2]))
        return None

    def _bad(self, fault: FrameFault, data: bytes) -> None:
        self._events.append(BadFrame(fault, data))
