"""Bodies as the imitated servers encode them: maps and lists of indefinite length."""

from __future__ import annotations

from collections.abc import Mapping

import cbor2

_MOST_IN_ONE_BYTE = 23  # entries that the head of a counted map tells in its first byte


def encode_reply(value: object) -> bytes:
    """Encode a reply body; maps and lists are begun and ended by marks, not counted (zcbor)."""
    if isinstance(value, dict) and len(value) <= _MOST_IN_ONE_BYTE and _is_flat(value):
        return b"\xbf" + cbor2.dumps(value)[1:] + b"\xff"  # the usual answer, in one go
    if isinstance(value, Mapping):
        parts = [cbor2.dumps(key) + encode_reply(item) for key, item in value.items()]
        return b"\xbf" + b"".join(parts) + b"\xff"
    if isinstance(value, list | tuple):
        return b"\x9f" + b"".join(map(encode_reply, value)) + b"\xff"
    return cbor2.dumps(value)


def _is_flat(value: Mapping[str, object]) -> bool:
    return not any(isinstance(item, dict | list | tuple | Mapping) for item in value.values())


def typed_fields(
    body: Mapping[str, object] | None, kinds: Mapping[str, type]
) -> dict[str, object] | None:
    """Take the known fields out of a request; None if it is no map or a field has another type.

    An `int` field means an unsigned one, as in the imitated servers.
    """
    if body is None:
        return None
    fields: dict[str, object] = {}
    for name, kind in kinds.items():
        if name not in body:
            continue
        value = body[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            return None
        if isinstance(value, int) and value < 0:
            return None
        fields[name] = value
    return fields
