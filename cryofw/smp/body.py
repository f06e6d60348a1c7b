"""SMP message bodies: one CBOR map, decoded under guard.

What a device sends is not to be trusted: bytes that are noise with a good CRC must end in a
`MessageError`, never in deep recursion, in memory that a length field made up, or in the
objects that CBOR tags stand for (a regular expression, a 10^9-digit number). SMP uses no tags.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

import cbor2

from cryofw.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 16
"""Nesting that is still read; the deepest answer of the known groups nests 5."""

_BREAK: Final = 0xFF
_STRINGS: Final = (2, 3)
_MAP: Final = 5
_TAG: Final = 6
_INDEFINITE: Final = 31
_UNTIL_BREAK: Final = -1
_EMPTY_MAP: Final = b"\xa0"
# A flat map of at most 7 names of at most 7 letters with integers, flags or null: nearly every
# answer in an upload. It needs no walk to be known as harmless.
_FLAT: Final = re.compile(
    rb"(?:[\xa1-\xa7]|\xbf)"
    rb"(?:(?:\x61.|\x62..|\x63.{3}|\x64.{4}|\x65.{5}|\x66.{6}|\x67.{7})"
    rb"(?:[\x00-\x17]|\x18.|\x19..|\x1a.{4}|[\xf4-\xf6])){1,7}\xff?",
    re.DOTALL,
)


class MessageError(Unreachable):
    """Bytes that are not a readable SMP message, or an answer without what it must carry."""


def encode_body(body: Mapping[str, object]) -> bytes:
    """Encode a body as a CBOR map.

    Raises:
        MessageError: a value has no CBOR form.
    """
    if not body:
        return _EMPTY_MAP
    try:
        return cbor2.dumps(body)
    except (cbor2.CBOREncodeError, RecursionError, OverflowError) as error:
        raise MessageError("the SMP body cannot be encoded", why=str(error)) from error


def decode_body(payload: bytes) -> Mapping[str, object]:
    """Decode a payload; bytes after the map are ignored, as the recorded servers do.

    Keys are text in every known message; other keys are kept as they come.

    Raises:
        MessageError: not CBOR, not a map, nested deeper than `MAX_DEPTH`, or with tags.
    """
    if _FLAT.fullmatch(payload) is None:
        _guard(payload)
    try:
        body = cbor2.loads(payload)
    except (cbor2.CBORDecodeError, RecursionError, ValueError, TypeError) as error:
        raise MessageError("the SMP body is not readable CBOR", why=str(error)) from error
    if not isinstance(body, dict):
        raise MessageError("the SMP body is not a CBOR map", why=f"it is a {type(body).__name__}")
    return cast("dict[str, object]", body)


def _guard(data: bytes) -> None:
    """Walk over the items (RFC 8949, 3.) without building them; raise on what may not be built."""
    outer: list[int] = []  # items still to come in the containers around the present one
    left = 1
    position = 0
    size = len(data)
    while left:
        if position >= size:
            raise _unreadable("it ends in the middle of an item")
        initial = data[position]
        position += 1
        if initial == _BREAK:
            if left != _UNTIL_BREAK:
                raise _unreadable("a break stands outside an indefinite-length item")
            left = 0
        else:
            if left > 0:
                left -= 1
            major = initial >> 5
            argument = initial & 0x1F
            if argument > 23:
                argument, position = _long_argument(data, argument, position)
            if major in _STRINGS and argument >= 0:
                position += argument
            elif 2 <= major <= 6:
                outer.append(left)
                left = _items_inside(major, argument, len(outer), size - position)
        while not left and outer:
            left = outer.pop()


def _long_argument(data: bytes, argument: int, position: int) -> tuple[int, int]:
    """Return an argument of 1, 2, 4 or 8 bytes, or `_UNTIL_BREAK`, and where it ends."""
    if argument == _INDEFINITE:
        return _UNTIL_BREAK, position
    if argument > 27:
        raise _unreadable("an item has a reserved length")
    end = position + (1 << (argument - 24))
    return int.from_bytes(data[position:end], "big"), end


def _items_inside(major: int, argument: int, depth: int, remaining: int) -> int:
    if major == _TAG:
        raise _unreadable("it uses a CBOR tag")
    if depth > MAX_DEPTH:
        raise _unreadable(f"it nests deeper than {MAX_DEPTH}")
    if argument == _UNTIL_BREAK:
        return _UNTIL_BREAK
    count = argument * 2 if major == _MAP else argument
    if count > remaining:
        raise _unreadable("a container is longer than the message")
    return count


def _unreadable(why: str) -> MessageError:
    return MessageError("the SMP body is not readable CBOR", why=why)
