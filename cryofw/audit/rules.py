"""What must stand in a journal before what: the design's invariants as a table of rules on kinds.

A rule looks at one record and at what stood before it, and answers with a sentence when the
record could not have been written by a cryofw that keeps its promises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from cryofw.audit.bootloader_rules import (
    no_way_back_was_accepted,
    uploaded_what_the_plan_packs,
)
from cryofw.audit.calibration_rules import calibrated_before_its_baseline, calibrated_on_trial
from cryofw.audit.journal_rules import JOURNAL_KINDS, journal_rules_broken
from cryofw.audit.lab_rules import (
    checked_as_adopted,
    gate_names_the_accepted,
    lab_rules_broken,
    no_rollback_of_a_pinned_device,
    nothing_is_sent_to_a_pinned_device,
)
from cryofw.audit.ledger import (
    CHECK,
    CONFIRM,
    IN_FLIGHT,
    INTENTS,
    OUTCOMES,
    ROLL_BACK,
    ROLLOUT_KINDS,
    TEST,
    UPLOAD,
    DeviceLedger,
    Ledger,
    RolloutLedger,
)
from cryofw.audit.pair_rules import PAIR_RULES, back_as_a_pair, confirmed_as_a_pair, no_torn_pair
from cryofw.audit.register import LAB_KINDS
from cryofw.audit.release_rules import origin_as_planned, origin_on_record
from cryofw.audit.rollout_rules import (
    ended_as_it_says,
    enough_answered,
    may_start,
    ran_what_the_plan_says,
    runs_what_was_skipped,
    stands_on_what_is_still_good,
    unproven,
)
from cryofw.audit.shape import SHAPED, misshapen
from cryofw.audit.standing import ATTESTED

if TYPE_CHECKING:
    from cryofw.journal import Record

Rule: TypeAlias = Callable[[Ledger, RolloutLedger, DeviceLedger, "Record"], str]
_NO_DEVICE = DeviceLedger()


def broken_rules(ledger: Ledger, record: Record) -> list[str]:
    """A sentence for each rule that `record` breaks after what `ledger` has seen."""
    if record.kind == ATTESTED:
        return _attests_what_it_runs(ledger, record)
    if record.kind in JOURNAL_KINDS:
        return journal_rules_broken(ledger, record)
    if record.kind not in SHAPED:
        return []
    if problem := misshapen(record):
        return [problem]
    if record.kind in LAB_KINDS:
        return lab_rules_broken(ledger, record)
    rollout = ledger.rollouts.get(record.rollout)
    if record.kind == "rollout-started":
        problem = may_start(ledger, record)
        return [problem] if problem else []
    if rollout is None:
        return [f"no rollout {record.rollout or '(none)'} was started"]
    device = _NO_DEVICE if record.device is None else rollout.device(record.device)
    answers = [rule(ledger, rollout, device, record) for rule in _RULES_OF[record.kind]]
    return [answer for answer in answers if answer]


def _attests_what_it_runs(ledger: Ledger, record: Record) -> list[str]:
    known = ledger.running.get(str(record.device))
    claimed = tuple(record.fields.get(name) for name in ("record", "hash", "state"))
    if known is not None and claimed == (known.n, known.hash, known.state):
        return []
    return [f"it attests what no record before it says of {record.device}"]


def _rules_for(kind: str) -> list[Rule]:
    rules = list(RULES.get(kind, ()))
    if kind in OUTCOMES:
        rules.append(_outcome_has_its_intent)
    if kind in INTENTS:
        rules += [
            _nothing_is_asked_at_rest,
            _nothing_is_asked_in_quarantine,
            nothing_is_sent_to_a_pinned_device,
        ]
    return rules


def _outcome_has_its_intent(
    _ledger: Ledger, _rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    wanted = OUTCOMES[record.kind]
    if wanted.intersection(device.intents):
        return ""
    if record.kind == "device-refused" and device.stands == "checked" and not device.intents:
        return ""  # a decision: a device that cannot be judged is not touched
    names = " or ".join(sorted(wanted)) if len(wanted) < 3 else "an intent"
    return f"it is an outcome, but {names} for {record.device} does not stand before it"


def _nothing_is_asked_at_rest(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    return f"{record.device} was asked for something after {rollout.resting}" * bool(
        rollout.resting
    )


def _nothing_is_asked_in_quarantine(
    ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if record.device not in ledger.quarantine:
        return ""
    if device.left_by_stop and rollout.goes_back:
        return ""  # the person who takes back what the stop left finishes it in order
    return f"{record.device} was in quarantine, and nobody had cleared it"


def _gate_before_stage(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    stage, gate = str(record.fields["stage"]), str(record.fields.get("gate", ""))
    if stage in rollout.stages:
        return f"the stage {stage} was started before"
    before = rollout.stages[-1] if rollout.stages else ""
    if gate != before:
        return f"stage {stage} stands on the gate of {gate or 'nothing'}, not on that of {before}"
    if before and before not in rollout.gates:
        return f"stage {stage} began, but the gate of stage {before} had not passed"
    return _stage_as_planned(rollout, stage, before)


def _stage_as_planned(rollout: RolloutLedger, stage: str, before: str) -> str:
    if rollout.plan is None:
        return ""
    names = [planned.name for planned in rollout.plan.stages]
    if stage not in names or names.index(stage) != len(rollout.stages):
        return f"the plan's stage {len(rollout.stages) + 1} is not {stage}"
    wants_approval = any(one.name == before and one.then_approve for one in rollout.plan.stages)
    if wants_approval and stage not in rollout.approved:
        return f"the plan asks for an approval of stage {stage}; there is none"
    return ""


def _waves_in_turn(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    stage, wave = record.fields["stage"], record.fields["wave"]
    if not rollout.stages or stage != rollout.stages[-1]:
        return f"a wave of stage {stage}, which is not the current one"
    return f"wave {wave} follows wave {rollout.wave}" * (wave != rollout.wave + 1)


def _gate_of_settled_devices(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    stage = str(record.fields["stage"])
    if not rollout.stages or stage != rollout.stages[-1] or stage in rollout.gates:
        return f"the gate of stage {stage}, which is not the current one"
    for name, device in rollout.devices.items():
        if device.stands in IN_FLIGHT:
            return f"the gate of stage {stage} passed while {name} was {device.stands}"
    if rollout.plan is None or all(one.name != stage for one in rollout.plan.stages):
        return ""
    if rollout.wave != len(rollout.plan.stage(stage).waves):
        return f"the gate of stage {stage} passed after wave {rollout.wave} of its waves"
    why = unproven(rollout, rollout.plan.stage(stage).devices)
    return f"the gate of stage {stage} passed, but {why}" if why else ""


def _check_in_its_stage(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    if not rollout.stages:
        return f"{record.device} was addressed before any stage began"
    if rollout.plan is None:
        return ""
    planned = rollout.plan.devices.get(str(record.device))
    if planned is None:
        return f"the plan does not name {record.device}"
    if planned.stage not in rollout.stages:
        return f"{record.device} was addressed before its stage {planned.stage} began"
    return ""


def _upload_of_the_release(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if not device.last_good:
        return f"{record.device} was not checked before"
    if record.fields["hash"] != rollout.release:
        return f"{record.device} was to get an image that is not the release of this rollout"
    return _in_its_wave(rollout, str(record.device))


def _in_its_wave(rollout: RolloutLedger, name: str) -> str:
    planned = rollout.plan.devices.get(name) if rollout.plan else None
    if rollout.plan is None or planned is None or planned.stage not in rollout.stages[-1:]:
        return ""
    started = rollout.plan.stage(planned.stage).waves[: rollout.wave]
    if any(name in wave for wave in started):
        return ""
    return f"{name} was to be flashed before its wave began"


def _test_of_what_was_uploaded(
    _ledger: Ledger, rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if record.fields["hash"] != rollout.release:
        return f"{record.device} was to boot an image that is not the release of this rollout"
    if device.uploaded != record.fields["hash"]:
        return f"the upload to {record.device} was not proven before its test boot"
    return ""


def _nothing_new_in_a_frozen_cryostat(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    planned = rollout.plan.devices.get(str(record.device)) if rollout.plan else None
    if planned is None:
        return ""
    if planned.cryostat in rollout.frozen:
        return f"{record.device} was to be changed while {planned.cryostat} was frozen"
    if record.kind != CONFIRM and planned.cryostat in rollout.held_out:
        return f"{record.device} was to be flashed while {planned.cryostat} was held out"
    return ""


def _confirm_of_what_passed(
    _ledger: Ledger, _rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if not device.tested:
        return f"{record.device} was to be confirmed without a test boot"
    if device.tested != record.fields["hash"]:
        return f"{record.device} was to be confirmed with another image than it had booted"
    if device.stands != "in test boot":
        return f"{record.device} was to be confirmed, but it is {device.stands}"
    if device.verdict != "passed" and not device.accepted:
        found = f"the last one is `{device.verdict}`" if device.verdict else "there is none"
        return (
            f"the confirm of {record.device} needs a verdict `passed`; {found}, and nobody had "
            "accepted it while it was held"
        )
    return ""


def _outcome_is_about_the_same_image(
    _ledger: Ledger, _rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    asked = {image for image in device.intents.values() if image}
    if not asked or str(record.fields["hash"]) in asked:
        return ""
    return f"it is about another image than was asked of {record.device}"


def _rollback_to_the_last_good(
    _ledger: Ledger, _rollout: RolloutLedger, device: DeviceLedger, record: Record
) -> str:
    if not device.last_good or record.fields["hash"] == device.last_good:
        return ""
    return f"{record.device} was taken back to an image that did not run on it before"


def _nobody_is_left_behind(
    _ledger: Ledger, rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    if record.fields["outcome"] == "stopped":  # what is in test boot is left to its lease
        return ""
    for name, device in rollout.devices.items():
        if device.stands in IN_FLIGHT:
            return f"the rollout ended while {name} was {device.stands}"
    return ""


def _act_of_a_named_person(
    _ledger: Ledger, _rollout: RolloutLedger, _device: DeviceLedger, record: Record
) -> str:
    return "" if record.fields.get("by") else "it does not say who did it"


RULES: dict[str, tuple[Rule, ...]] = {
    "stage-started": (_gate_before_stage, stands_on_what_is_still_good),
    "wave-started": (_waves_in_turn, enough_answered),
    "gate-passed": (_gate_of_settled_devices, no_torn_pair, gate_names_the_accepted),
    "stage-approved": (_act_of_a_named_person,),
    "quarantine-cleared": (_act_of_a_named_person,),
    "device-accepted": (_act_of_a_named_person,),
    "rollback-requested": (no_rollback_of_a_pinned_device,),
    "device-checked": (checked_as_adopted, ran_what_the_plan_says),
    "device-skipped": (runs_what_was_skipped,),
    CHECK: (_check_in_its_stage,),
    UPLOAD: (
        _check_in_its_stage,
        _upload_of_the_release,
        origin_on_record,
        _nothing_new_in_a_frozen_cryostat,
    ),
    TEST: (
        _test_of_what_was_uploaded,
        _nothing_new_in_a_frozen_cryostat,
        no_way_back_was_accepted,
    ),
    CONFIRM: (
        _confirm_of_what_passed,
        _nothing_new_in_a_frozen_cryostat,
        confirmed_as_a_pair,
        calibrated_on_trial,
    ),
    "baseline-taken": (calibrated_before_its_baseline,),
    "guard-overridden": (_act_of_a_named_person,),
    "release-verified": (origin_as_planned,),
    "expiry-forgiven": (_act_of_a_named_person, origin_as_planned),
    ROLL_BACK: (_rollback_to_the_last_good, back_as_a_pair),
    "image-uploaded": (_outcome_is_about_the_same_image, uploaded_what_the_plan_packs),
    "test-booted": (_outcome_is_about_the_same_image,),
    "image-confirmed": (_outcome_is_about_the_same_image,),
    "device-rolled-back": (_outcome_is_about_the_same_image,),
    "rollout-ended": (_nobody_is_left_behind, no_torn_pair, ended_as_it_says),
    **PAIR_RULES,
}
"""Rules by kind; outcomes and intents have more in common, see `_rules_for`."""

_RULES_OF = {kind: _rules_for(kind) for kind in ROLLOUT_KINDS}
