"""The audit against forged journals of a rollout that calibrates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import find_violations
from cryofw.audit.evidence import Evidence
from cryofw.journal import Entry, Journal, MemoryStorage
from cryofw.rollout import fields_of
from tests.unit.rollout.test_recalibration import DEVICE, begun, calibrated_plan

if TYPE_CHECKING:
    from cryofw.clock import Clock
    from cryofw.journal import Record


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def records(clock: Clock, storage: MemoryStorage) -> list[Record]:
    """A whole rollout, its plan beside it."""
    plan = calibrated_plan(DEVICE)
    lab = begun(plan)
    lab.beats(2000)
    storage.write_atomic(f"rollouts/{plan.rollout}/plan.json", plan.canonical)
    with Journal.open(storage, clock=clock, who="anna@lab") as journal:
        journal.append_many(
            Entry(step.kind, plan.rollout, getattr(step, "device", None), fields_of(step))
            for step in lab.steps
        )
        return list(journal.records)


def without(records: list[Record], kinds: tuple[str, ...], which: int) -> list[Record]:
    """Without the `which`-th calibration of r1."""
    for kind in kinds:
        found = [r for r in records if r.kind == kind and r.device == "r1"]
        records = [r for r in records if r is not found[which]]
    return [replace(record, n=n) for n, record in enumerate(records)]


CALIBRATION = ("device-calibration-requested", "device-calibrated")


def test_an_honest_journal_passes(records: list[Record], storage: MemoryStorage) -> None:
    assert find_violations(records, Evidence(storage)) == []
    assert find_violations(records, None) == []


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (0, "the baseline of r1 was taken before it was calibrated"),
        (1, "r1 was to be confirmed, but was not calibrated in its test boot"),
    ],
)
def test_a_calibration_that_was_left_out_is_missed(
    records: list[Record], storage: MemoryStorage, which: int, says: str
) -> None:
    found = find_violations(without(records, CALIBRATION, which), Evidence(storage))
    assert says in [one.message for one in found]
    assert find_violations(without(records, CALIBRATION, which), None) == [], "the plan asks for it"
