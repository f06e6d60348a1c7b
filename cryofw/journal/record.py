"""One line of the journal: who did what to which device, when, and why.

The line is canonical: compact ASCII JSON, the envelope first in a fixed order, then the fields in
sorted order, so that one record has exactly one line and its hash can be trusted.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from datetime import date
from typing import TYPE_CHECKING, Any

from cryofw.errors import CryofwError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

RECORD_VERSION = 1
MAX_LINE = 64 * 1024 - 1  # bytes without the newline; C2SP log entries are shorter than 64 KiB
MAX_NESTING = 16
ENVELOPE = ("v", "n", "t", "who", "rollout", "device", "kind")

_KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TIME = re.compile(
    r"\d{4}-[01]\d-[0-3]\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII
)  # the calendar is another matter, see `_is_day`


class UnwritableRecord(CryofwError):
    """A record that the journal cannot hold: NaN, bytes, a line of 64 KiB. A bug in cryofw."""


class RecordTooNew(Refused):
    """The journal was continued by a newer cryofw; this one must not touch it."""


class RecordMalformed(ValueError):
    """A line is not a record; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `n` counts from 0, `t` is RFC 3339 in UTC with milliseconds."""

    v: int
    n: int
    t: str
    who: str
    rollout: str
    device: str | None
    kind: str
    fields: Mapping[str, object] = field(hash=False)

    @property
    def line(self) -> bytes:
        """The canonical line without its newline: the leaf of the Merkle tree."""
        return encode(self)


@dataclass(frozen=True)
class Entry:
    """What is to be written: a record without its number, time and author."""

    kind: str
    rollout: str = ""
    device: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


def make_record(entry: Entry, n: int, t: str, who: str) -> Record:
    """Number an entry; raises UnwritableRecord if no line could hold it."""
    if not _KIND.fullmatch(entry.kind):
        raise UnwritableRecord(f"`{entry.kind}` is not a kind of record")
    clash = sorted(set(entry.fields).intersection(ENVELOPE))
    if clash:
        raise UnwritableRecord(f"the field `{clash[0]}` of {entry.kind} belongs to the envelope")
    fields = {str(key): _plain(value, 1) for key, value in sorted(entry.fields.items())}
    record = Record(RECORD_VERSION, n, t, who, entry.rollout, entry.device, entry.kind, fields)
    if len(encode(record)) > MAX_LINE:
        raise UnwritableRecord(
            f"the record {entry.kind} is longer than 64 KiB",
            why=", ".join(f"{key}: {len(str(value))}" for key, value in fields.items()),
            hint="put raw readings beside the journal and their digest into the record",
        )
    return record


def _plain(value: object, depth: int) -> object:
    """A copy of `value` as it will be read back: dicts with sorted text keys, lists, scalars."""
    if depth > MAX_NESTING:
        raise UnwritableRecord(f"a record nests deeper than {MAX_NESTING} levels")
    match value:
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise UnwritableRecord(f"{value} has no place in a record", hint="write null")
            return float(value)
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise UnwritableRecord("a record's keys are text")
            return {str(key): _plain(value[key], depth + 1) for key in sorted(value)}
        case list() | tuple():
            return [_plain(item, depth + 1) for item in value]
        case _:
            raise UnwritableRecord(f"a {type(value).__name__} has no place in a record")


def encode(record: Record) -> bytes:
    """The canonical line of a record, without its newline."""
    envelope: dict[str, Any] = {
        "v": record.v,
        "n": record.n,
        "t": record.t,
        "who": record.who,
        "rollout": record.rollout,
    }
    if record.device is not None:
        envelope["device"] = record.device
    envelope["kind"] = record.kind
    envelope.update(record.fields)
    return _dumps(envelope).encode("ascii")


def decode(line: bytes, *, strict: bool = False) -> Record:
    """The record of a line; raises RecordMalformed, or RecordTooNew for a newer version.

    `strict` takes only the one line that cryofw writes for the record.
    """
    try:
        text = line.decode("ascii")
        raw, end = _scan(text, 0)
    except StopIteration:
        raise RecordMalformed("not a line of JSON") from None
    except (ValueError, RecursionError) as error:
        raise RecordMalformed(f"not a line of JSON ({error})") from None
    if end != len(text):
        raise RecordMalformed(f"not a line of JSON (more after character {end})")
    if not isinstance(raw, dict):
        raise RecordMalformed("not a JSON object")
    is_ours = not strict or (_dumps(raw) == text and _is_ordered(tuple(raw)))
    version = raw.pop("v", None)
    if type(version) is not int or version < 1:
        raise RecordMalformed("its version `v` is not a number from 1 on")
    if version > RECORD_VERSION:
        raise RecordTooNew(
            f"the journal holds records of version {version}",
            why=f"this cryofw writes and reads version {RECORD_VERSION}",
            hint="use the cryofw that wrote it (or a newer one), also to finish its rollout",
        )
    record = _decode_v1(raw)
    if not is_ours:
        raise RecordMalformed("it is not in the form that cryofw writes")
    return record


def _is_ordered(keys: tuple[str, ...]) -> bool:
    """Whether the envelope comes first and the fields follow in order; remembers those that do."""
    if keys in _SHAPES:
        return True
    head = tuple(key for key in ENVELOPE if key != "device" or key in keys)
    fields = keys[len(head) :]
    if keys[: len(head)] != head or list(fields) != sorted(fields):
        return False
    if len(_SHAPES) < _MOST_KNOWN:
        _SHAPES.add(keys)
    return True


def _is_kind(text: str) -> bool:
    """Whether a text can be a kind; remembers those that can."""
    if not _KIND.fullmatch(text):
        return False
    if len(_KINDS) < _MOST_KNOWN:
        _KINDS.add(text)
    return True


def _is_day(text: str) -> bool:
    """Whether there was such a day; remembers those that were."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    if len(_DAYS) < _MOST_KNOWN:
        _DAYS.add(text)
    return True


_DAYS: set[str] = set()
_SHAPES: set[tuple[str, ...]] = set()
_KINDS: set[str] = set()
_MOST_KNOWN = 10_000


def _decode_v1(raw: dict[str, Any]) -> Record:
    take = raw.pop
    n, t, who, rollout = take("n", None), take("t", None), take("who", None), take("rollout", None)
    device, kind = take("device", None), take("kind", None)
    if type(n) is not int or n < 0:
        raise RecordMalformed("its number `n` is missing or wrong")
    if not isinstance(t, str) or not _TIME.fullmatch(t) or not (t[:10] in _DAYS or _is_day(t[:10])):
        raise RecordMalformed("its time `t` is missing or wrong")
    if not isinstance(who, str) or not isinstance(rollout, str):
        raise RecordMalformed("`who` or `rollout` is missing or wrong")
    if device is not None and not isinstance(device, str):
        raise RecordMalformed("its `device` is wrong")
    if not isinstance(kind, str) or not (kind in _KINDS or _is_kind(kind)):
        raise RecordMalformed("its `kind` is missing or wrong")
    # What `Record(...)` does, in half the time: its fields are frozen, so it sets them by detours.
    record = _new(Record)
    _set_v(record, 1)
    _set_n(record, n)
    _set_t(record, t)
    _set_who(record, who)
    _set_rollout(record, rollout)
    _set_device(record, device)
    _set_kind(record, kind)
    _set_fields(record, raw)
    return record


_new = object.__new__
_setters: Any = [vars(Record)[each.name].__set__ for each in dataclass_fields(Record)]
_set_v, _set_n, _set_t, _set_who, _set_rollout, _set_device, _set_kind, _set_fields = _setters


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _encoder() -> Callable[[object], str]:
    """What `JSONEncoder.encode` does, with one encoder kept: it makes a new one for each call."""
    encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    escape = json.encoder.encode_basestring_ascii
    encode = make(None, encoder.default, escape, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


def _finite(text: str) -> float:
    number = float(text)  # 1e999 is valid JSON, and infinite
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


_decoder: Any = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_scan = _decoder.scan_once  # `decode` would look for white space around it, which is none of ours
_dumps = _encoder()


def time_text(moment: datetime) -> str:
    """A timezone-aware UTC moment as records write it: RFC 3339, milliseconds, Z."""
    if moment.utcoffset() is None or moment.utcoffset():
        raise UnwritableRecord(f"{moment} is not UTC")
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
