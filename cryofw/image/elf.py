"""ELF executables: the segments that a loader would put into flash (System V ABI, chapters 4-5).

A segment goes to its physical address, where its initial content lies in flash; the virtual one
of `.data` is in RAM. This is what `objcopy -O binary` writes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cryofw.image.errors import ImageError
from cryofw.image.memory import join_chunks

_MAGIC: Final = b"\x7fELF"
_IDENT_SIZE: Final = 16
_LITTLE_ENDIAN: Final = 1
_EXECUTABLE: Final = 2
_LOAD: Final = 1
_MOST_SEGMENTS: Final = 1024
_FILLER: Final = 0x00


@dataclass(frozen=True, slots=True)
class _Class:
    """The layouts that differ between 32 and 64 bit; positions within the unpacked fields."""

    header: struct.Struct
    segment: struct.Struct
    offset: int
    address: int
    file_size: int


_CLASSES: Final = {
    # p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, p_align
    1: _Class(struct.Struct("<HHIIIIIHHHHHH"), struct.Struct("<IIIIIIII"), 1, 3, 4),
    # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    2: _Class(struct.Struct("<HHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ"), 2, 4, 5),
}


def read_elf(data: bytes) -> tuple[int, bytes]:
    """The lowest flash address, and the bytes from there; gaps become 0.

    Raises:
        ImageError: not a little-endian ELF executable, cut off, nothing to load, or segments
            that overlap.
    """
    layout = _layout(data)
    kind, _machine, _version, _entry, table, _sections, _flags, _size, entry_size, count, *_ = (
        layout.header.unpack_from(data, _IDENT_SIZE)
    )
    if kind != _EXECUTABLE:
        raise ImageError(
            "The .elf file is not an executable",
            why=f"its type is {kind}",
            hint="give the linked program, not an object file or a library",
        )
    if entry_size != layout.segment.size or count > _MOST_SEGMENTS:
        raise ImageError(
            "The .elf file is damaged",
            why=f"{count} program headers of {entry_size} bytes",
        )
    if table + entry_size * count > len(data):
        raise ImageError("The .elf file is cut off", why="inside its program headers")
    chunks = []
    for position in range(table, table + entry_size * count, entry_size):
        fields = layout.segment.unpack_from(data, position)
        if fields[0] == _LOAD and fields[layout.file_size]:
            offset, size = fields[layout.offset], fields[layout.file_size]
            chunks.append((fields[layout.address], _segment(data, offset, size)))
    return join_chunks(chunks, filler=_FILLER)


def _layout(data: bytes) -> _Class:
    if data[:4] != _MAGIC:
        raise ImageError("This is not an .elf file", why="it does not begin with 7f 45 4c 46")
    layout = _CLASSES.get(data[4]) if len(data) > _IDENT_SIZE else None
    if layout is None or len(data) < _IDENT_SIZE + layout.header.size:
        raise ImageError("The .elf file is damaged", why="its header is cut off or unknown")
    if data[5] != _LITTLE_ENDIAN:
        raise ImageError("The .elf file is big-endian", why="MCUboot images are little-endian here")
    return layout


def _segment(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ImageError(
            "The .elf file is cut off",
            why=f"a segment ends at byte {offset + size}, the file at {len(data)}",
        )
    if offset == 0:
        raise ImageError(
            "The .elf file would flash its own file header",
            why="its first segment begins at byte 0 of the file",
            hint="link with -n (--nmagic), so that only the program is loaded",
        )
    return data[offset : offset + size]
