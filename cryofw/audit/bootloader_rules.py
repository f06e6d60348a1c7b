"""The rules about bootloaders: who overwrites was accepted by name, and what lay in the slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.rollout.planner import NO_WAY_BACK

if TYPE_CHECKING:
    from cryofw.audit.ledger import DeviceLedger, Ledger, RolloutLedger
    from cryofw.journal import Record


def no_way_back_was_accepted(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """Nothing reverts what a bootloader overwrites: the plan says that a person took it on."""
    planned = rollout.plan.devices.get(str(record.device)) if rollout.plan else None
    if rollout.plan is None or planned is None or not planned.connection.overwrites:
        return ""
    accepted = rollout.plan.overrides.get(NO_WAY_BACK, ())
    if planned.name in accepted or "*" in accepted:
        return ""
    return (
        f"the bootloader of {record.device} overwrites, and nobody had accepted that there is no "
        "way back"
    )


def uploaded_what_the_plan_packs(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """Of a compressed image the slot showed its own hash, not that of the plain one inside."""
    if rollout.plan is None:
        return ""
    planned, told = rollout.plan.release.uploaded_hash, record.fields.get("uploaded_hash", "")
    if told == planned:
        return ""
    what = f"the slot of {record.device} showed {told or 'the hash of the release'}"
    return f"{what}; the plan says {planned or 'that of the release'}"
