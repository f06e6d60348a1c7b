"""What commands of the lab print, read as a number, a state or a lease."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from cryofw.telemetry.errors import CommandFailed
from cryofw.telemetry.reading import FREE, ExperimentLease

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHAPES = {
    "value": 'a number, {"value": 27.1, "t": "2026-11-20T21:07:03Z"}, or {"values": {NAME: 27.1}}',
    "state": 'a state, or {"state": "base-stable", "t": "2026-11-20T21:07:03Z"}',
    "owner": '{"owner": "anna", "expires": "2026-11-20T22:00:00Z", "token": 17} or {"owner": null}',
}


T = TypeVar("T")


@dataclass(frozen=True)
class Stamped(Generic[T]):
    """A value and when it was measured; None: the command does not say, so now."""

    value: T
    t_s: float | None


def read_value(document: object, command: str, name: str) -> Stamped[float]:
    """A number; null, and a name that is not among several, is NaN.

    Raises:
        CommandFailed: it is no number.
    """
    stamped = _stamped(document, "value", command, several=name)
    value = stamped.value
    if value is None:
        return Stamped(math.nan, stamped.t_s)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not_a("value", command, document)
    try:
        return Stamped(float(value), stamped.t_s)
    except OverflowError:
        return Stamped(math.inf, stamped.t_s)


def read_state(document: object, command: str) -> Stamped[str]:
    """A state.

    Raises:
        CommandFailed: it is neither text nor a whole number.
    """
    stamped = _stamped(document, "state", command)
    value = stamped.value
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise _not_a("state", command, document)
    return Stamped(str(value), stamped.t_s)


def read_lease(document: object, command: str) -> Stamped[ExperimentLease]:
    """A lease.

    Raises:
        CommandFailed: it is no lease, or one without an end.
    """
    if not isinstance(document, dict) or "owner" not in document:
        raise _not_a("owner", command, document)
    owner, token = document["owner"], document.get("token")
    t_s = _time(document, "t", command, "owner")
    if owner is None or owner == "":
        return Stamped(FREE, t_s)
    expires_s = _time(document, "expires", command, "owner")
    is_token = token is None or (isinstance(token, int) and not isinstance(token, bool))
    if not isinstance(owner, str) or expires_s is None or not is_token:
        raise _not_a("owner", command, document)
    return Stamped(ExperimentLease(owner, expires_s, token), t_s)


def _stamped(document: object, key: str, command: str, several: str = "") -> Stamped[object]:
    if not isinstance(document, dict):
        return Stamped(document, None)
    t_s = _time(document, "t", command, key)
    values = document.get("values")
    if several and isinstance(values, dict):
        return Stamped(values.get(several), t_s)
    if key not in document:
        raise _not_a(key, command, document)
    return Stamped(document[key], t_s)


def _time(document: Mapping[str, object], key: str, command: str, shape: str) -> float | None:
    """Seconds since 1970, from a number or from RFC 3339 text with its zone."""
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _not_a(shape, command, document) from None
        if moment.tzinfo is None:
            why = f"{command}: `{key}` is {value}, without a time zone"
            hint = "end it with Z or with an offset, or print seconds since 1970"
            raise CommandFailed("a command printed a time that means nothing", why=why, hint=hint)
        return moment.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _not_a(shape, command, document)
    return float(value)


def _not_a(key: str, command: str, document: object) -> CommandFailed:
    shown = repr(document)
    shown = shown if len(shown) <= 120 else f"{shown[:120]}..."
    return CommandFailed(
        "a command printed something else than a reading",
        why=f"{command}: {shown}",
        hint=f"it prints {_SHAPES[key]}",
    )
