"""Events and intents as journal records, and back."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from cryofw.errors import VerificationFailed
from cryofw.rollout import coefficient_events as coe
from cryofw.rollout import commands as c
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout import lab_events as lab
from cryofw.rollout import operator_events as oe
from cryofw.rollout import recovery_events as rec
from cryofw.rollout import release_events as rel

if TYPE_CHECKING:
    from cryofw.journal import Record

_PASSING = {e.ReadingTaken.kind, e.ClockTicked.kind, ce.CryostatObserved.kind}

EVENTS: dict[str, type[e.Event]] = {
    event.kind: event
    for module in (e, ce, coe, rel, oe, lab, rec)
    for event in vars(module).values()
    if isinstance(event, type) and issubclass(event, e.Event) and event.kind
    if event.kind not in _PASSING
}


def fields_of(step: e.Event | c.Command) -> dict[str, Any]:
    """The record's own fields: everything but the device, which every record carries anyway."""
    return {f.name: getattr(step, f.name) for f in fields(step) if f.name not in ("device", "kind")}


def step_from_record(record: Record) -> e.Event | c.Command | None:
    """The event or intent that a record holds; None for kinds of other rooms.

    Raises:
        VerificationFailed: a known kind without its fields.
    """
    step = EVENTS.get(record.kind) or c.COMMANDS.get(record.kind)
    if step is None:
        return None
    values: dict[str, Any] = dict(record.fields)
    if record.device is not None:
        values["device"] = record.device
    known = {f.name: f for f in fields(step)}
    required = {n for n, f in known.items() if f.default is MISSING is f.default_factory}
    if missing := required - values.keys():
        raise VerificationFailed(
            f"record {record.n} ({record.kind}) is incomplete",
            why=f"it lacks {', '.join(sorted(missing))}",
            hint="run `cryofw audit verify`; the journal is not as cryofw wrote it",
        )
    return step(**{n: v for n, v in values.items() if n in known})
