"""Dependencies: "this image needs image N in at least version V" (MCUboot's DEPENDENCY TLV)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from cryofw.image.errors import ImageError
from cryofw.image.version import Version

_LAYOUT: Final = struct.Struct("<B3xBBHI")
_ITEM: Final = re.compile(r"\(\s*([0-9]{1,3})\s*,\s*([0-9.+]{1,32})\s*\)")
_SEPARATOR: Final = re.compile(r"\s*,\s*")


@dataclass(frozen=True, slots=True)
class Dependency:
    """Image number (0 to 255) and the lowest version that satisfies.

    Raises:
        ImageError: the image number does not fit 8 bits.
    """

    image: int
    version: Version

    def __post_init__(self) -> None:
        if not 0 <= self.image <= 0xFF:
            raise ImageError(f"image number {self.image} of a dependency is not within 0 to 255")

    def encode(self) -> bytes:
        """The 12 bytes of the TLV's value."""
        version = self.version
        return _LAYOUT.pack(
            self.image, version.major, version.minor, version.revision, version.build
        )

    @classmethod
    def decode(cls, value: bytes) -> Dependency:
        """Read a TLV's value.

        Raises:
            ImageError: not 12 bytes.
        """
        if len(value) != _LAYOUT.size:
            raise ImageError(
                "a dependency has the wrong size", why=f"{len(value)} bytes instead of 12"
            )
        image, *version = _LAYOUT.unpack(value)
        return cls(image, Version(*version))

    def __str__(self) -> str:
        return f"({self.image}, {self.version})"


def parse_dependencies(text: str) -> tuple[Dependency, ...]:
    """Read `(image, version), ...`, the form of imgtool's `--dependencies`.

    Raises:
        ImageError: another form, or a number out of range.
    """
    found, position = [], 0
    while match := _ITEM.match(text, position):
        found.append(Dependency(int(match[1]), Version.parse(match[2])))
        position = match.end()
        if position == len(text):
            return tuple(found)
        separator = _SEPARATOR.match(text, position)
        position = separator.end() if separator else position
        if not separator:
            break
    raise ImageError(
        f"{text[:60]!r} is not a list of dependencies",
        why=f"character {position + 1}",
        hint="write (image number, lowest version), such as (1, 2.0.0), (2, 1.4.0+7)",
    )
