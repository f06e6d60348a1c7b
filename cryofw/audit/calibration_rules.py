"""The rules about calibrations around an update, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.audit.ledger import DeviceLedger, Ledger, RolloutLedger
    from cryofw.journal import Record


def _is_asked(rollout: RolloutLedger, record: Record) -> bool:
    planned = rollout.plan.devices.get(str(record.device)) if rollout.plan else None
    return planned is not None and planned.recalibration.is_asked


def calibrated_before_its_baseline(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    """Like is compared with like."""
    if device.calibrated_first or not _is_asked(rollout, record):
        return ""
    return f"the baseline of {record.device} was taken before it was calibrated"


def calibrated_on_trial(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    """What is confirmed was judged after it was calibrated."""
    if device.calibrated or not _is_asked(rollout, record):
        return ""
    return f"{record.device} was to be confirmed, but was not calibrated in its test boot"
