"""Messages bare on the line: the header says how long each is, and nothing else bounds them.

Zephyr's raw UART transport (4.4 on) and MCUboot's raw serial recovery (after 2.4.0) speak so: a
quarter less on the line, but no checksum, no log lines, and no mark to find the next message by.
After a lost byte only silence helps: a server drops half a message after `RESYNC_S`.
"""

from __future__ import annotations

from typing import Final

from cryofw.smp.body import MessageError
from cryofw.smp.framing import BadFrame, Frame, FrameEvent, FrameFault
from cryofw.smp.message import HEADER_SIZE, V2, Op

RESYNC_S: Final = 3.5
"""Seconds of silence after which a server has dropped half a message: 3 s are the default of
MCUboot and Zephyr (`..._RAW_..._INPUT_TIMEOUT...`), and a margin."""
LONGEST_ANSWER: Final = 8192
"""Bytes; a longer answer is noise that looks like a header."""

REQUESTS: Final = frozenset((Op.READ, Op.WRITE))
RESPONSES: Final = frozenset((Op.READ_RSP, Op.WRITE_RSP))


def encode_raw(message: bytes) -> bytes:
    """Return `message` as the bytes to write: as they are.

    Raises:
        MessageError: the header does not announce the payload that follows.
    """
    if int.from_bytes(message[2:4], "big") != len(message) - HEADER_SIZE:
        raise MessageError("a raw SMP message needs a header that tells its length")
    return message


class RawDecoder:
    """Turns the bytes of a raw line into messages; what cannot begin one comes out as bad.

    Args:
        ops: what a message may be: `REQUESTS` or `RESPONSES`.
        max_message: longest message in bytes.
        skips: look for the next header byte by byte in what is no message, as a client may, for a
            wrong guess only costs it an answer. Servers drop all they hold.
    """

    __slots__ = ("_firsts", "_held", "_max_message", "_skips")

    def __init__(self, *, ops: frozenset[Op], max_message: int, skips: bool) -> None:
        self._firsts = frozenset(op | (version - 1) << 3 for op in ops for version in (1, V2))
        self._max_message = max_message
        self._skips = skips
        self._held = b""

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._held)

    def discard(self) -> None:
        """Forget the half message: nothing came for so long that its rest will not come."""
        self._held = b""

    def feed(self, data: bytes) -> list[FrameEvent]:
        """Take the next bytes and return what they completed, in order."""
        events: list[FrameEvent] = []
        data = self._held + data
        while data:
            if not self._may_begin(data):
                bad = self._bad_part(data)
                events.append(BadFrame(FrameFault.HEADER, data[:bad]))
                data = data[bad:]
                continue
            end = HEADER_SIZE + int.from_bytes(data[2:4], "big")
            if len(data) < max(HEADER_SIZE, end):
                break
            events.append(Frame(data[:end]))
            data = data[end:]
        self._held = data
        return events

    def _bad_part(self, data: bytes) -> int:
        """How many bytes are no message, up to where the next may begin."""
        if not self._skips:
            return len(data)
        return next((at for at in range(1, len(data)) if self._may_begin(data[at:])), len(data))

    def _may_begin(self, data: bytes) -> bool:
        if data[0] not in self._firsts:
            return False
        if self._skips and len(data) > 1 and data[1]:
            return False  # the flags of the known servers are 0
        if len(data) < 4:
            return True
        return HEADER_SIZE + int.from_bytes(data[2:4], "big") <= self._max_message
