"""The audit against forged journals of a rollout with coefficients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import find_violations
from cryofw.audit.evidence import Evidence
from cryofw.audit.pair import PairLedger
from cryofw.journal import Entry, Journal, MemoryStorage, Record
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout import fields_of
from cryofw.rollout.progress import RESET_USER
from tests.unit.rollout.pair_lab import DEVICE, OLD, PairLab, a_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock

OTHER = {"readout/gain": "00008040"}


class Told:
    """The journal of a rollout, and its plan beside it."""

    def __init__(self, lab: PairLab, clock: Clock) -> None:
        self.storage = MemoryStorage()
        plan = lab.plan
        self.storage.write_atomic(f"rollouts/{plan.rollout}/plan.json", plan.canonical)
        with Journal.open(self.storage, clock=clock, who="anna@lab") as journal:
            journal.append_many(
                Entry(step.kind, plan.rollout, getattr(step, "device", None), fields_of(step))
                for step in lab.steps
            )
            self.records = list(journal.records)

    def violations(self, records: list[Record]) -> list[str]:
        """What the rules say of forged records."""
        numbered = [replace(record, n=n) for n, record in enumerate(records)]
        return [one.message for one in find_violations(numbered, Evidence(self.storage))]


def without(kind: str) -> Callable[[Record], bool]:
    return lambda record: record.kind != kind


@pytest.fixture
def rolled_back(clock: Clock) -> Told:
    """Confirmed, kept, and taken back by a person."""
    lab = PairLab()
    lab.start()
    lab.beat(20)
    lab.tell(e.RollbackRequested("anna", "the physicists say so"))
    return Told(lab, clock)


@pytest.fixture
def retried(clock: Clock) -> Told:
    """A command wrote them; the host let the lease run out; then all went well."""
    lab = PairLab(a_plan(by_command=True))
    lab.start()
    lab.beat(2)
    lab.beat(1, image=OLD, boot=8, cause=RESET_USER)
    lab.beat(20)
    return Told(lab, clock)


def test_honest_journals_pass(rolled_back: Told, retried: Told) -> None:
    for told in (rolled_back, retried):
        assert told.violations(told.records) == []
        assert find_violations(told.records, None) == []
    kinds = [record.kind for record in retried.records]
    assert kinds.count("coefficients-restored") == 1
    assert kinds.count("coefficients-applied") == 2


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("coefficients-read-requested", "coefficients-read-requested for c1-a does not stand"),
        ("coefficients-read", "before its old ones were read"),
        ("coefficients-apply-requested", "coefficients-apply-requested for c1-a does not stand"),
        ("coefficients-applied", "was to be confirmed without its coefficients"),
        ("image-confirmed", "was to keep its coefficients before its image was confirmed"),
        ("coefficients-save-requested", "coefficients-save-requested for c1-a does not stand"),
        ("coefficients-saved", "was left confirmed without keeping its coefficients"),
    ],
)
def test_what_was_left_out_is_missed(rolled_back: Told, kind: str, says: str) -> None:
    found = rolled_back.violations([r for r in rolled_back.records if without(kind)(r)])
    assert any(says in message for message in found), found


@pytest.mark.parametrize(
    ("kind", "field", "says"),
    [
        ("coefficients-apply-requested", "values", "these are not the plan's coefficients"),
        ("coefficients-save-requested", "values", "these are not the plan's coefficients"),
        ("device-rollback-requested", "coefficients", "back with other coefficients than it had"),
    ],
)
def test_other_values_are_found(rolled_back: Told, kind: str, field: str, says: str) -> None:
    forged = [
        replace(record, fields={**record.fields, field: OTHER}) if record.kind == kind else record
        for record in rolled_back.records
    ]
    found = rolled_back.violations(forged)
    assert any(says in message for message in found), found


def test_a_rollback_that_forgets_the_coefficients_is_found(rolled_back: Told) -> None:
    forged = [
        replace(record, fields={k: v for k, v in record.fields.items() if k != "coefficients"})
        for record in rolled_back.records
    ]
    found = rolled_back.violations(forged)
    assert any("back with other coefficients than it had" in message for message in found), found


def test_what_a_command_left_behind_is_found(retried: Told) -> None:
    """It reverted by itself, and the rollout ended without its old coefficients."""
    end = next(record for record in retried.records if record.kind == "rollout-ended")
    until = [r.kind for r in retried.records].index("coefficients-restore-requested")
    found = retried.violations([*retried.records[:until], end])
    assert any("left self-reverted without its old coefficients" in one for one in found), found


def test_a_restore_of_other_values_is_found(retried: Told) -> None:
    kind = c.RestoreCoefficients.kind
    forged = [
        replace(record, fields={**record.fields, "values": OTHER})
        if record.kind == kind
        else record
        for record in retried.records
    ]
    found = retried.violations(forged)
    assert any("other coefficients than it had" in message for message in found), found


@pytest.mark.parametrize("by_command", [False, True], ids=["smp", "command"])
def test_a_reset_takes_back_what_smp_applied_and_not_what_a_command_wrote(
    by_command: bool,
) -> None:
    planned = a_plan(by_command=by_command).devices[DEVICE]
    pair = PairLedger(before={}, apply_asked=True)
    assert bool(pair.torn(planned, "self-reverted")) is by_command
