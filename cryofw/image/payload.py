"""The firmware that goes into an image, read from .bin, Intel .hex or .elf."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

PayloadKind: TypeAlias = Literal["bin", "hex", "elf"]


@dataclass(frozen=True)
class Payload:
    """Firmware bytes, and the flash address of the first one when the file names it."""

    data: bytes = field(repr=False)
    address: int | None = None


def read_payload(data: bytes, kind: PayloadKind) -> Payload:
    """Read the content of a firmware file.

    Gaps are filled as the usual tools do: 0xff in a .hex (imgtool), 0 in an .elf (objcopy).

    Raises:
        ImageError: the file is damaged, empty, or would be larger than 64 MiB.
    """
    match kind:
        case "bin":
            return Payload(data)
        case "hex":
            from cryofw.image.hexfile import read_hex

            address, content = read_hex(data)
            return Payload(content, address)
        case "elf":
            from cryofw.image.elf import read_elf

            address, content = read_elf(data)
            return Payload(content, address)
        case _:
            assert_never(kind)
