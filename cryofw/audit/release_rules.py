"""The rules about where a rollout's firmware came from: the plan's digest binds its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout.record import fields_of
from cryofw.rollout.release_events import ExpiryForgiven, ReleaseVerified, origin_events

if TYPE_CHECKING:
    from cryofw.audit.ledger import DeviceLedger, Ledger, RolloutLedger
    from cryofw.journal import Record

ORIGIN_KINDS = frozenset({ReleaseVerified.kind, ExpiryForgiven.kind})


def origin_as_planned(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """What was verified, and what was forgiven by whom, is what the plan says."""
    if rollout.plan is None:
        return ""
    for event in origin_events(rollout.plan.origin):
        if event.kind == record.kind:
            planned = {k: _plain(v) for k, v in fields_of(event).items()}
            told = {name: _plain(record.fields.get(name)) for name in planned}
            return "" if told == planned else "it is not what the plan says of its release"
    return "the plan knows nothing of it"


def origin_on_record(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """Before anything is sent it stands in the journal, and so does every exception."""
    if rollout.plan is None or rollout.plan.origin is None:
        return ""
    missing = {event.kind for event in origin_events(rollout.plan.origin)} - rollout.told
    if not missing:
        return ""
    what = " and ".join(sorted(missing))
    return f"an image was sent to {record.device}, and the plan's {what} was not recorded"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
