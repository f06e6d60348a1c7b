"""What a record says about what its device runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.journal import Record

ATTESTED = "device-attested"
"""Kind of the record that says, as the newest of its journal, what a device runs."""

_RUNS = {
    "device-adopted": "confirmed",
    "device-checked": "confirmed",
    "device-skipped": "confirmed",
    "image-confirmed": "confirmed",
    "test-booted": "on trial",
    "device-reverted": "gone back by itself",
    "device-rolled-back": "taken back",
    "device-recovered": "recovered",
}
_ON_THE_WAY = frozenset({
    "image-test-requested", "device-rollback-requested", "device-stuck", "power-cycle-requested",
    "recovery-requested", "recovery-failed",
})  # fmt: skip
UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Standing:
    """That record `n` left its device with the image `hash`: empty if it is not known."""

    n: int
    hash: str
    state: str


def standing(record: Record) -> Standing | None:
    """What `record` says about what runs; None if nothing."""
    state = _RUNS.get(record.kind)
    if state is not None:
        return Standing(record.n, str(record.fields.get("hash", "")), state)
    if record.kind in _ON_THE_WAY:
        return Standing(record.n, "", UNKNOWN)
    return None
