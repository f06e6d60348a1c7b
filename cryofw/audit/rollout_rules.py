"""The rules about a rollout as a whole: it is that of its plan, alone, and ends as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.audit.ledger import DeviceLedger, Ledger, RolloutLedger
    from cryofw.journal import Record
    from cryofw.rollout import Plan

_PROVEN = ("confirmed", "skipped")


def may_start(ledger: Ledger, record: Record) -> str:
    """Each rollout starts once, and while no other is open."""
    if record.rollout in ledger.rollouts:
        return f"the rollout {record.rollout} was started before"
    opened = [name for name, one in ledger.rollouts.items() if one.is_open]
    return f"it was started while {', '.join(opened)} was open" if opened else ""


def not_as_planned(plan: Plan, record: Record) -> str:
    """What the start of a rollout says otherwise than its plan; empty if nothing."""
    if record.rollout != plan.rollout:
        return f"its plan is that of {plan.rollout}"
    for name, planned in (("release", plan.release.hash), ("version", plan.release.version)):
        if record.fields.get(name) != planned:
            return f"its {name} is not the one of its plan, {planned}"
    return ""


def unproven(rollout: RolloutLedger, names: Iterable[str]) -> str:
    """Why the firmware is not proven good on these devices; empty if it is.

    Who did not answer before anything was sent is passed over.
    """
    found = {name: rollout.device(name) for name in names}
    for name, device in found.items():
        if device.stands == "unreachable" and not device.was_sent:
            continue
        if device.stands not in _PROVEN:
            return f"{name} is {device.stands or 'untouched'}"
        if device.verdict == "failed" and not device.accepted:
            return f"the latest verdict on {name} is `failed`"
    good = any(device.stands in _PROVEN for device in found.values())
    return "" if good else "there is not a single proven device"


def stands_on_what_is_still_good(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """A stage begins on earlier ones that are good now, not only when their gate passed."""
    if rollout.plan is None:
        return ""
    for stage in rollout.plan.stages:
        if stage.name in rollout.stages and (why := unproven(rollout, stage.devices)):
            return f"stage {record.fields['stage']} began, but {why}"
    return ""


def enough_answered(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """The first wave begins once as many devices answered as the plan wants."""
    stages = rollout.plan.stages if rollout.plan else ()
    stage = next((one for one in stages if one.name == record.fields["stage"]), None)
    if stage is None or record.fields["wave"] != 1:
        return ""
    stands = [rollout.device(name).stands for name in stage.devices]
    answered = sum(one not in ("", "unreachable") for one in stands)
    if answered >= stage.min_reachable * len(stands):
        return ""
    return f"{answered} of {len(stands)} devices answered; {stage.min_reachable:.0%} were needed"


def ended_as_it_says(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """`confirmed` says that every stage of the plan passed, and that nothing came after."""
    if not rollout.is_open:
        return "it had ended before"
    if record.fields["outcome"] != "confirmed":
        return ""
    planned = [one.name for one in rollout.plan.stages] if rollout.plan else rollout.stages
    shut = [name for name in planned if name not in rollout.gates]
    if shut:
        return f"it ended confirmed, but the gate of stage {shut[0]} had not passed"
    if rollout.plan is not None and (why := _unproven_at_the_end(rollout, rollout.plan)):
        return f"it ended confirmed, but {why}"
    return ""


def _unproven_at_the_end(rollout: RolloutLedger, plan: Plan) -> str:
    found = (unproven(rollout, stage.devices) for stage in plan.stages)
    return next((why for why in found if why), "")


def runs_what_was_skipped(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """Who is skipped runs the release already."""
    if record.fields["hash"] == rollout.release:
        return ""
    return f"{record.device} was skipped, but it does not run the release of this rollout"


def ran_what_the_plan_says(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """The way back was proven for the image of the plan, and for no other."""
    planned = rollout.plan.devices.get(str(record.device)) if rollout.plan else None
    if planned is None or record.fields["hash"] == planned.running_hash:
        return ""
    return f"{record.device} was checked, but it ran another image than the plan says"
