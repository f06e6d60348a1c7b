"""Reading the fields of an answer's body.

An answer may carry more than is known here (it is kept as `unknown`) and may leave out what
its group documents as optional. A field that is there with another type is not readable:
`MessageError`, for a wrong guess about a device is worse than no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import nan

from cryofw.smp.body import MessageError

Body = Mapping[str, object]


def uint(body: Body, key: str) -> int:
    """Return a required unsigned integer; raises `MessageError` if it is none."""
    value = body.get(key)
    if type(value) is not int or value < 0:
        raise _wrong(key, "an unsigned integer", body)
    return value


def optional_uint(body: Body, key: str) -> int | None:
    """Return an unsigned integer, None if absent; raises `MessageError` on another type."""
    return uint(body, key) if key in body else None


def text(body: Body, key: str) -> str:
    """Return a required text; raises `MessageError` if it is none."""
    value = body.get(key)
    if not isinstance(value, str):
        raise _wrong(key, "a text", body)
    return value


def optional_text(body: Body, key: str) -> str:
    """Return a text, "" if absent; raises `MessageError` on another type."""
    return text(body, key) if key in body else ""


def flag(body: Body, key: str) -> bool:
    """Return a flag; absent is false (Zephyr leaves false flags out when asked to)."""
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, "true or false", body)
    return value


def optional_flag(body: Body, key: str) -> bool | None:
    """Return a flag, None if absent; raises `MessageError` on another type."""
    return flag(body, key) if key in body else None


def byte_string(body: Body, key: str) -> bytes:
    """Return a required byte string; raises `MessageError` if it is none."""
    value = body.get(key)
    if not isinstance(value, bytes):
        raise _wrong(key, "a byte string", body)
    return value


def optional_bytes(body: Body, key: str) -> bytes:
    """Return a byte string, b"" if absent; raises `MessageError` on another type."""
    return byte_string(body, key) if key in body else b""


def maps(body: Body, key: str) -> list[Body]:
    """Return a required list of maps; raises `MessageError` if it is none."""
    value = body.get(key)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise _wrong(key, "a list of maps", body)
    return value


def numbers(body: Body, key: str) -> dict[str, float]:
    """Return a map of numbers, empty if absent.

    A value that is no number is NaN: the name was answered, its value is not known.

    Raises:
        MessageError: not a map.
    """
    value = body.get(key, {})
    if not isinstance(value, Mapping):
        raise _wrong(key, "a map of numbers", body)
    return {str(name): _number(item) for name, item in value.items()}


def unknown(body: Body, known: Iterable[str]) -> dict[str, object]:
    """Return what the body carries besides the `known` keys."""
    return {key: value for key, value in body.items() if key not in known}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return nan
    try:
        return float(value)
    except OverflowError:
        return nan


def _wrong(key: str, wanted: str, body: Body) -> MessageError:
    found = repr(body[key])[:80] if key in body else "nothing"
    return MessageError(
        f'The SMP answer has no readable "{key}"',
        why=f"{found}, not {wanted}",
        hint="the line damaged it, or another protocol answers: try again.",
    )
