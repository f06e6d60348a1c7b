"""ELF executables: the segments that a loader would put into flash (System V ABI, chapters 4-5).

A segment goes to its physical address, where its initial content lies in flash; the virtual one
of `.data` is in RAM. Linkers like to put the file's own headers into the first segment where an
image header leaves room before the code; those are left out. So this is what `objcopy -O binary`
writes.
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
_ALLOCATED: Final = 0x2
_NO_CONTENT: Final = 8
_FILLER: Final = 0x00


@dataclass(frozen=True, slots=True)
class _Class:
    """The layouts that differ between 32 and 64 bit; positions within the unpacked fields."""

    header: struct.Struct
    segment: struct.Struct
    offset: int
    address: int
    file_size: int
    section: struct.Struct


_CLASSES: Final = {
    # p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, p_align
    1: _Class(
        struct.Struct("<HHIIIIIHHHHHH"),
        struct.Struct("<IIIIIIII"),
        *(1, 3, 4),
        struct.Struct("<IIIIIIIIII"),
    ),
    # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    2: _Class(
        struct.Struct("<HHIQQQIHHHHHH"),
        struct.Struct("<IIQQQQQQ"),
        *(2, 4, 5),
        struct.Struct("<IIQQQQIIQQ"),
    ),
}


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a table of the file lies: its offset, bytes of an entry, number of entries."""

    name: str
    start: int
    entry_size: int
    count: int

    def rows(self, data: bytes, layout: struct.Struct) -> list[tuple[int, ...]]:
        """The entries' fields.

        Raises:
            ImageError: the table is not of this layout, or not within the file.
        """
        if not self.count:
            return []
        if self.entry_size != layout.size:
            raise ImageError(
                "the .elf file is damaged",
                why=f"{self.count} {self.name} headers of {self.entry_size} bytes",
            )
        end = self.start + self.count * self.entry_size
        if end > len(data):
            raise ImageError("the .elf file is cut off", why=f"inside its {self.name} headers")
        return list(layout.iter_unpack(memoryview(data)[self.start : end]))


def read_elf(data: bytes) -> tuple[int, bytes]:
    """The lowest flash address, and the bytes from there; gaps become 0.

    Raises:
        ImageError: not a little-endian ELF executable, cut off, nothing to load, or segments
            that overlap.
    """
    layout = _layout(data)
    kind, _machine, _version, _entry, segments, sections, _flags, _size, *tables, _names = (
        layout.header.unpack_from(data, _IDENT_SIZE)
    )
    if kind != _EXECUTABLE:
        raise ImageError(
            "the .elf file is not an executable",
            why=f"its type is {kind}",
            hint="give the linked program, not an object file or a library",
        )
    content = memoryview(data)  # slices copy nothing: many headers may claim the same bytes
    chunks = []
    for fields in _Table("program", segments, *tables[:2]).rows(data, layout.segment):
        offset, size = fields[layout.offset], fields[layout.file_size]
        if fields[0] != _LOAD or not size:
            continue
        if offset + size > len(data):
            raise ImageError(
                "the .elf file is cut off",
                why=f"a segment ends at byte {offset + size}, the file at {len(data)}",
            )
        skipped = 0
        if offset == 0:
            table = _Table("section", sections, *tables[2:])
            skipped = _first_content(table.rows(data, layout.section), size)
        chunks.append((fields[layout.address] + skipped, content[offset + skipped : offset + size]))
    return join_chunks(chunks, filler=_FILLER)


def _layout(data: bytes) -> _Class:
    if data[:4] != _MAGIC:
        raise ImageError("this is not an .elf file", why="it does not begin with 7f 45 4c 46")
    layout = _CLASSES.get(data[4]) if len(data) > _IDENT_SIZE else None
    if layout is None or len(data) < _IDENT_SIZE + layout.header.size:
        raise ImageError("the .elf file is damaged", why="its header is cut off or unknown")
    if data[5] != _LITTLE_ENDIAN:
        raise ImageError("the .elf file is big-endian", why="MCUboot images are little-endian here")
    return layout


def _first_content(sections: list[tuple[int, ...]], end: int) -> int:
    """Where the program begins in a segment that begins with the file's own headers."""
    # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, ...
    starts = [
        offset
        for _name, kind, flags, _address, offset, size, *_ in sections
        if flags & _ALLOCATED and kind != _NO_CONTENT and size and 0 < offset < end
    ]
    if not starts:
        raise ImageError(
            "the .elf file would flash its own file header",
            why="its first segment begins at byte 0 of the file, and no section says where the "
            "program begins",
            hint="link with -n (--nmagic), so that only the program is loaded",
        )
    return min(starts)
