"""The rules about pairs of firmware and coefficients, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.audit.pair import APPLY, RESTORE, SAVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.audit.ledger import DeviceLedger, Ledger, RolloutLedger
    from cryofw.journal import Record
    from cryofw.rollout import PlannedDevice

    Rule = Callable[[Ledger, RolloutLedger, DeviceLedger, Record], str]


def _planned(rollout: RolloutLedger, name: str | None) -> PlannedDevice | None:
    return rollout.plan.devices.get(str(name)) if rollout.plan else None


def _applied_on_trial(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if device.stands != "in test boot":
        return f"{record.device} was to get coefficients, but it is {device.stands or 'untouched'}"
    if device.pair.before is None:
        return f"{record.device} was to get coefficients before its old ones were read"
    return _as_planned(rollout, record)


def _saved_after_the_confirm(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if device.stands != "confirmed":
        return f"{record.device} was to keep its coefficients before its image was confirmed"
    return _as_planned(rollout, record)


def _as_planned(rollout: RolloutLedger, record: Record) -> str:
    planned = _planned(rollout, record.device)
    if planned is None:
        return ""
    wanted = {name: one.hex for name, one in planned.coefficients.items()}
    return "" if record.fields["values"] == wanted else "these are not the plan's coefficients"


def confirmed_as_a_pair(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    """A confirm needs the coefficients that the plan names, on trial."""
    planned = _planned(rollout, record.device)
    if planned is None or not planned.coefficients or device.pair.applied:
        return ""
    return f"{record.device} was to be confirmed without its coefficients"


def back_as_a_pair(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    """Once something may have been kept, going back means writing what was read before."""
    given = record.fields.get("coefficients", {})
    kept = device.pair.kept(_planned(rollout, record.device))
    if given == ((device.pair.before or {}) if kept else {}):
        return ""
    return f"{record.device} was to go back with other coefficients than it had"


def _restored_as_read(
    _ledger: Ledger, _rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if record.fields["values"] == device.pair.before:
        return ""
    return f"{record.device} was to get back other coefficients than it had"


def no_torn_pair(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """Neither a gate nor an end, but for a stop, leaves a device with a torn pair."""
    if record.fields.get("outcome") == "stopped":
        return ""
    for name, device in rollout.devices.items():
        how = device.pair.torn(_planned(rollout, name), device.stands)
        if how:
            return f"{name} was left {device.stands} {how}"
    return ""


PAIR_RULES: Mapping[str, tuple[Rule, ...]] = {
    APPLY: (_applied_on_trial,),
    SAVE: (_saved_after_the_confirm,),
    RESTORE: (_restored_as_read,),
}
