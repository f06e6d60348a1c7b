"""Pieces of firmware at addresses, put together into one run of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryofw.image.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_SPAN: Final = 64 * 1024 * 1024


def join_chunks(
    chunks: Iterable[tuple[int, bytes | memoryview]], *, filler: int
) -> tuple[int, bytes]:
    """The lowest address, and all bytes from there; gaps become `filler`.

    Raises:
        ImageError: nothing, two pieces at one address, or a span over 64 MiB.
    """
    ordered = sorted((chunk for chunk in chunks if chunk[1]), key=lambda chunk: chunk[0])
    if not ordered:
        raise ImageError("there is no firmware in the file", why="it loads no bytes anywhere")
    base = ordered[0][0]
    end = base
    pieces: list[bytes | memoryview] = []
    for address, content in ordered:
        if address < end:
            raise ImageError("two pieces of the firmware overlap", why=f"at address 0x{address:x}")
        if address + len(content) - base > LARGEST_SPAN:
            raise ImageError(
                "the firmware is too large",
                why=f"it spans from 0x{base:x} to 0x{address + len(content):x}, "
                f"more than {LARGEST_SPAN >> 20} MiB",
                hint="leave option bytes and other far regions out of the file",
            )
        pieces += [bytes([filler]) * (address - end), content]
        end = address + len(content)
    return base, b"".join(pieces)
