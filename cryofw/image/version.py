"""The version of an image: major.minor.revision+build, as MCUboot's header holds it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cryofw.image.errors import ImageError

_NUMBER: Final = r"(0|[1-9][0-9]*)"
_TEXT: Final = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:\+{_NUMBER})?)?)?")
_SMP_TEXT: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:\.{_NUMBER})?")
_LONGEST_TEXT: Final = 32
_LIMITS: Final = {"major": 0xFF, "minor": 0xFF, "revision": 0xFFFF, "build": 0xFFFF_FFFF}


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A firmware version; ordered by major, minor, revision, then build.

    MCUboot itself ignores the build number when it prevents downgrades, unless it is configured
    to compare it.

    Raises:
        ImageError: a part does not fit its header field (u8, u8, u16, u32).
    """

    major: int
    minor: int = 0
    revision: int = 0
    build: int = 0

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            value: int = getattr(self, name)
            if not 0 <= value <= limit:
                raise ImageError(
                    "the version does not fit an image header",
                    why=f"{name} is {value}, its field holds 0 to {limit}",
                )

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `major[.minor[.revision[+build]]]`, the grammar of imgtool.

        Raises:
            ImageError: another form, or a part that is out of range.
        """
        return cls._matched(_TEXT, text, "expected major.minor.revision+build, such as 1.2.3+4")

    @classmethod
    def parse_smp(cls, text: str) -> Version:
        """Read the form of SMP's image state: `2.0.0`, or `2.0.0.7` for 2.0.0+7.

        Raises:
            ImageError: another form, or a part that is out of range.
        """
        return cls._matched(_SMP_TEXT, text, "expected a version as SMP prints it, such as 2.0.0.7")

    @classmethod
    def _matched(cls, pattern: re.Pattern[str], text: str, expected: str) -> Version:
        match = pattern.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
        if match is None:
            raise ImageError(f"{text[:_LONGEST_TEXT]!r} is not a version", why=expected)
        return cls(*(int(part or 0) for part in match.groups()))

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.revision}"
        return f"{text}+{self.build}" if self.build else text
