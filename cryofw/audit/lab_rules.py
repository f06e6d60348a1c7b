"""The rules about devices apart from rollouts: whose hardware answers, and who is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.audit.register import ADOPTED, NO_VERSION, RECOVERED, RECOVERY, RECOVERY_KINDS

if TYPE_CHECKING:
    from cryofw.audit.ledger import DeviceLedger, Ledger, RolloutLedger
    from cryofw.journal import Record


def lab_rules_broken(ledger: Ledger, record: Record) -> list[str]:
    """A sentence for each rule that a record of no rollout breaks."""
    found = [] if record.fields.get("by") else ["it does not say who did it"]
    if record.kind == ADOPTED and (problem := _replaced_unsaid(ledger, record)):
        found.append(problem)
    if record.kind in RECOVERY_KINDS and (problem := _recovered_out_of_turn(ledger, record)):
        found.append(problem)
    return found


def _recovered_out_of_turn(ledger: Ledger, record: Record) -> str:
    """Asked for first, of the same image, and of no device that a rollout is at work on."""
    device = str(record.device)
    if record.kind == RECOVERY:
        busy = [
            name
            for name, rollout in ledger.rollouts.items()
            if rollout.resting != "the rollout had ended" and device in rollout.devices
        ]
        return f"{device} was to be recovered while {busy[-1]} was at work on it" if busy else ""
    asked = ledger.register.recovering.get(device)
    if asked is None:
        return f"it is an outcome, but {RECOVERY} for {device} does not stand before it"
    if asked != record.fields.get("hash"):
        return f"it is about another image than was asked of {device}"
    adopted = ledger.register.hardware.get(device, "")
    answered = record.fields.get("hw") or ""
    if record.kind == RECOVERED and adopted and answered != adopted:
        return f"{device} was recovered, and answers as {answered or 'hardware without an id'}"
    return ""


def _replaced_unsaid(ledger: Ledger, record: Record) -> str:
    """Another controller in place of an adopted one: somebody said so."""
    before = ledger.register.hardware.get(str(record.device), "")
    now = str(record.fields.get("hw", ""))
    if not before or before == now or record.fields.get("replaces") == before:
        return ""
    return (
        f"{record.device} was adopted as {now or 'hardware without an id'}; it was {before}, and "
        "nobody said that it was replaced"
    )


def nothing_is_sent_to_a_pinned_device(
    ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """Who is pinned takes part in rollouts of that version, who is excluded in none."""
    pin = ledger.register.pins.get(str(record.device))
    if pin is None or (pin != NO_VERSION and pin == rollout.version):
        return ""
    if pin == NO_VERSION:
        return f"{record.device} was excluded from every rollout, and takes part in one"
    return f"{record.device} was pinned to {pin}, and takes part in a rollout of {rollout.version}"


def no_rollback_of_a_pinned_device(
    ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, _record: Record
) -> str:
    """A rollout that has ended is not taken back on a device that was pinned since."""
    if rollout.is_open:
        return ""
    kept = (name for name, device in rollout.devices.items() if device.stands == "confirmed")
    pinned = sorted(name for name in kept if name in ledger.register.pins)
    return f"it takes back {', '.join(pinned)}, which a person had pinned" if pinned else ""


def gate_names_the_accepted(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """A gate says for whom a person stood in, and no verdict."""
    stage = str(record.fields["stage"])
    if rollout.plan is None or all(one.name != stage for one in rollout.plan.stages):
        return ""
    members = {name: rollout.device(name) for name in rollout.plan.stage(stage).devices}
    accepted = {n: d.accepted for n, d in members.items() if d.stands == "confirmed" and d.accepted}
    evidence = record.fields.get("evidence")
    told = evidence.get("accepted", {}) if isinstance(evidence, dict) else {}
    if told == accepted:
        return ""
    names = ", ".join(f"{name} by {who}" for name, who in accepted.items()) or "nobody"
    return f"the gate of stage {stage} does not say whom a person accepted: {names}"


def checked_as_adopted(
    ledger: Ledger, _rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    """What answers is the controller that was adopted."""
    adopted = ledger.register.hardware.get(str(record.device), "")
    answered = record.fields.get("hw") or ""
    if not adopted or answered == adopted:
        return ""
    return (
        f"{record.device} answered as {answered or 'hardware without an id'}; it was adopted as "
        f"{adopted}"
    )
