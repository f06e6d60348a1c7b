"""A range of versions, as `>=0.1, <2`: of the host software, or of what a release may come from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryofw.errors import BadInput

_TERM = re.compile(r"(>=|<=|==|!=|<|>)\s*(\d{1,9}(?:\.\d{1,9}){0,3})")
_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,3}")
_PARTS = 4


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Terms that must all hold; an empty range holds every version."""

    terms: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Read terms of `>= <= == != < >` and a version, with commas between them.

        Raises:
            BadInput: it is no such range.
        """
        terms = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            match = _TERM.fullmatch(part)
            if match is None:
                raise BadInput(f"{text!r} is no range of versions", hint="write it as '>=0.1, <2'")
            terms.append((match[1], _numbers(match[2])))
        return cls(tuple(terms))

    def has(self, version: str) -> bool:
        """Whether `version` lies in it; what follows the numbers (`rc1`, `.dev2`) is not read.

        Raises:
            BadInput: `version` does not begin with a number.
        """
        match = _VERSION.match(version)
        if match is None:
            raise BadInput(f"{version!r} is no version")
        found = _numbers(match[0])
        return all(_holds(found, sign, bound) for sign, bound in self.terms)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    return tuple(numbers + [0] * (_PARTS - len(numbers)))


def _holds(found: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    return {
        ">=": found >= bound,
        "<=": found <= bound,
        "==": found == bound,
        "!=": found != bound,
        "<": found < bound,
        ">": found > bound,
    }[sign]


def joined(*ranges: str) -> str:
    """The range in which a version lies if it lies in each of these."""
    return ", ".join(one.strip() for one in ranges if one.strip())
