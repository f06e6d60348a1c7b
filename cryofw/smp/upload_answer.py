"""The usual answer to an upload packet, read in one step.

An upload brings thousands of them, all alike: one line of the console, one message, a map with
`off` and perhaps `rc` 0. What differs in anything is left to the general decoders, which read
these answers too, and alike.
"""

from __future__ import annotations

import struct
from binascii import Error as Base64Error
from binascii import a2b_base64, crc_hqx
from typing import Final

from cryofw.smp.message import Group, Op
from cryofw.smp.messages.image_group import ImageCommand

LONGEST_ANSWER_LINE: Final = 48
"""Bytes of such a line at most, newline included."""

_START: Final = b"\x06\x09"
# Length of the packet without itself; version and operation, flags, length, group, seq, command.
_HEAD: Final = struct.Struct("!HBBHHBB")
_AROUND: Final = _HEAD.size + 2
_WRITE_RSP, _IMAGE, _UPLOAD = int(Op.WRITE_RSP), int(Group.IMAGE), int(ImageCommand.UPLOAD)
_RESERVED_AND_OP: Final = 0xE7
_OFF: Final = b"\x63off"
# What stands before `off` in the map, and what after its value: maps with a length and without.
_ENDS: Final = {
    b"\xbf": b"\xff",
    b"\xbf\x62rc\x00": b"\xff",
    b"\xa1": b"",
    b"\xa2\x62rc\x00": b"",
}
# CBOR (RFC 8949, 3.): initial bytes of unsigned integers of 1, 2 and 4 bytes, by their size.
_UINTS: Final = {2: 0x18, 3: 0x19, 5: 0x1A}


def read_upload_answer(line: bytes) -> tuple[int, int] | None:
    """Return sequence number and `off` of a framed line, None if it is not such an answer.

    Args:
        line: begins at the start of a line and ends with its newline.
    """
    if line[:2] != _START or line[-1:] != b"\n" or len(line) > LONGEST_ANSWER_LINE:
        return None
    try:
        packet = a2b_base64(line[2:-1], strict_mode=True)
    except Base64Error:
        return None
    size = len(packet)
    if size < _AROUND or crc_hqx(packet[2:], 0):
        return None
    framed, first, _, length, group, seq, command = _HEAD.unpack_from(packet)
    if framed != size - 2 or length != size - _AROUND:
        return None
    if first & _RESERVED_AND_OP != _WRITE_RSP or group != _IMAGE or command != _UPLOAD:
        return None
    before, name, after = packet[_HEAD.size : -2].partition(_OFF)
    end = _ENDS.get(before)
    if end is None or not name or not after.endswith(end):
        return None
    off = _uint(after[: len(after) - len(end)])
    return None if off is None else (seq, off)


def _uint(item: bytes) -> int | None:
    """Read an item that is one unsigned integer below 2**32, None if it is not."""
    if len(item) == 1 and item[0] < 0x18:
        return item[0]
    if len(item) > 1 and item[0] == _UINTS.get(len(item)):
        return int.from_bytes(item[1:], "big")
    return None
