"""Types of arguments, as functions for click: what they refuse is a usage error (exit 2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from cryofw.image import ImageError, Version

if TYPE_CHECKING:
    from cryofw.image import Dependency

_SIZE = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})([kKmM]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def size(value: str | int) -> int:
    """Read a number: decimal, hexadecimal behind 0x, or with K or M for KiB and MiB."""
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size, such as 0x200, 512 or 256K")
    base = 16 if match[1][:2] in {"0x", "0X"} else 10
    return int(match[1], base) * _UNITS[match[2].lower()]


def counter(value: str) -> int | str:
    """Read a security counter: a number, or `auto` to derive it from the version."""
    if value == "auto":
        return value
    try:
        return int(value, 0)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor `auto`") from error


def version(value: str) -> Version:
    """Read a firmware version a.b.c+d."""
    try:
        return Version.parse(value)
    except ImageError as error:
        raise _refused(error) from error


def dependencies(value: str) -> tuple[Dependency, ...]:
    """Read `(image, lowest version), ...`."""
    from cryofw.image import parse_dependencies

    try:
        return parse_dependencies(value)
    except ImageError as error:
        raise _refused(error) from error


def _refused(error: ImageError) -> click.BadParameter:
    return click.BadParameter("; ".join(filter(None, (error.what, error.why, error.hint))))
