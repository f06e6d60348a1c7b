"""Whether a record has the fields of its kind, each of the type that it should have.

A journal that was written by hand may hold anything; who reads it further may rely on this.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from cryofw.health import Outcome
from cryofw.rollout import Ending
from cryofw.rollout.commands import COMMANDS
from cryofw.rollout.record import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.journal import Record
    from cryofw.rollout import Command, Event

_NONE = type(None)
_TYPES: Mapping[str, frozenset[type]] = {
    "str": frozenset({str}),
    "str | None": frozenset({str, _NONE}),
    "bool": frozenset({bool}),
    "int": frozenset({int}),
    "int | None": frozenset({int, _NONE}),
    "float": frozenset({float, int}),
    "float | None": frozenset({float, int, _NONE}),
}
_CONTAINERS = (("Mapping[", frozenset({dict})), ("tuple[", frozenset({list})))
_WORDS: Mapping[str, tuple[str, frozenset[str]]] = {
    "verdict-reached": ("outcome", frozenset(Outcome)),
    "rollout-ended": ("outcome", frozenset(Ending)),
}
"""Fields that hold one of a few words."""


def _types_of(annotation: str) -> frozenset[type]:
    for start, types in _CONTAINERS:
        if annotation.startswith(start):
            return types
    return _TYPES[annotation]


def _shape(step: type[Event | Command]) -> tuple[tuple[str, frozenset[type], bool], ...]:
    """Name, types and whether it must be there, of each field that a record holds by itself."""
    return tuple(
        (f.name, _types_of(str(f.type)), f.default is MISSING and f.default_factory is MISSING)
        for f in fields(step)
        if f.name != "device"
    )


_STEPS: Mapping[str, type[Event | Command]] = {**EVENTS, **COMMANDS}
_SHAPES = {kind: _shape(step) for kind, step in _STEPS.items()}
_OF_A_DEVICE = frozenset(
    kind for kind, step in _STEPS.items() if any(f.name == "device" for f in fields(step))
)
SHAPED = frozenset(_SHAPES)
"""Kinds whose fields are known."""


def misshapen(record: Record) -> str:
    """What a record of a known kind lacks, or holds in a form that it cannot have; mostly empty."""
    if record.device is None:
        if record.kind in _OF_A_DEVICE:
            return _lacks(record)
    elif record.device not in _NAMES and not _is_name(record.device):
        return f"no device can be called {record.device!a}"
    told = record.fields
    for name, types, is_required in _SHAPES[record.kind]:
        if name not in told:
            if is_required:
                return _lacks(record)
        elif type(told[name]) not in types:
            return f"its `{name}` is no {' or '.join(sorted(t.__name__ for t in types))}"
    if record.kind in _WORDS:
        name, words = _WORDS[record.kind]
        if told[name] not in words:
            return f"its `{name}` is none of {', '.join(sorted(words))}"
    return ""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMES: set[str] = set()
_MOST_KNOWN = 10_000


def _is_name(text: str) -> bool:
    """Whether fleet.yaml could have a device of this name; remembers those that it could."""
    if not _NAME.fullmatch(text):
        return False
    if len(_NAMES) < _MOST_KNOWN:
        _NAMES.add(text)
    return True


def _lacks(record: Record) -> str:
    missing = ["device"] if record.device is None and record.kind in _OF_A_DEVICE else []
    missing += sorted(
        name
        for name, _, is_required in _SHAPES[record.kind]
        if is_required and name not in record.fields
    )
    return f"it lacks {', '.join(missing)}"
