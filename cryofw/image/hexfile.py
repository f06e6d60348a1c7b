"""Intel HEX: text records of bytes at addresses (Intel, "Hexadecimal Object File Format")."""

from __future__ import annotations

from typing import Final

from cryofw.image.errors import ImageError
from cryofw.image.memory import join_chunks

_DATA, _END, _SEGMENT, _START_SEGMENT, _LINEAR, _START_LINEAR = range(6)
_SIZES: Final = {_END: 0, _SEGMENT: 2, _START_SEGMENT: 4, _LINEAR: 2, _START_LINEAR: 4}
_FILLER: Final = 0xFF


def read_hex(data: bytes) -> tuple[int, bytes]:
    """The lowest address, and the bytes from there; gaps become 0xff.

    Raises:
        ImageError: with the line number, for anything that is not a whole, valid file.
    """
    chunks: list[tuple[int, bytearray]] = []
    base, ended = 0, False
    for number, line in enumerate(data.splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        if ended:
            raise _bad(number, "it follows the end-of-file record")
        kind, offset, content = _read_record(number, line)
        if kind == _DATA:
            if offset + len(content) > 0x1_0000:
                raise _bad(number, "its data runs over a 64 KiB boundary")
            _append(chunks, base + offset, content)
        elif kind == _SEGMENT:
            base = int.from_bytes(content, "big") << 4
        elif kind == _LINEAR:
            base = int.from_bytes(content, "big") << 16
        ended = kind == _END
    if not ended:
        raise ImageError("the .hex file is cut off", why="it has no end-of-file record")
    return join_chunks(((start, bytes(content)) for start, content in chunks), filler=_FILLER)


def _append(chunks: list[tuple[int, bytearray]], address: int, content: bytes) -> None:
    """Add to the last chunk where the data goes on, which is nearly always."""
    if chunks:
        start, last = chunks[-1]
        if start + len(last) == address:
            last += content
            return
    chunks.append((address, bytearray(content)))


def _read_record(number: int, line: bytes) -> tuple[int, int, bytes]:
    """Type, 16-bit address and data of one line."""
    if line[:1] != b":":
        raise _bad(number, "it does not begin with a colon")
    try:
        record = bytes.fromhex(line[1:].decode("ascii"))
    except (UnicodeDecodeError, ValueError) as error:
        raise _bad(number, "it is not hexadecimal") from error
    if len(record) < 5 or len(record) != record[0] + 5 or len(line) != 2 * len(record) + 1:
        raise _bad(number, "its length does not match its count")
    if sum(record) & 0xFF:
        raise _bad(number, "its checksum is wrong")
    kind, content = record[3], record[4:-1]
    if kind > _START_LINEAR:
        raise _bad(number, f"it has the unknown record type {kind}")
    if len(content) != _SIZES.get(kind, len(content)):
        raise _bad(number, "its length does not match its type")
    return kind, record[1] << 8 | record[2], content


def _bad(number: int, why: str) -> ImageError:
    return ImageError(f"line {number} of the .hex file is wrong", why=why)
