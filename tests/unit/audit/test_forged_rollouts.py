"""Rollouts that never were: consistent trees, numbers in order, and a lie in what they tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import AuditFailed, Filter, tell, verify_log
from cryofw.audit.shape import SHAPED
from cryofw.journal import CLOSED, Entry, Journal, JournalCorrupt, MemoryStorage, Record
from cryofw.journal.chain import CONTINUED
from cryofw.journal.record import make_record
from cryofw.rollout.commands import COMMANDS
from cryofw.rollout.record import EVENTS
from tests.unit.audit.audited_lab import NEW, OLD, Lab, changed, violations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.clock import Clock

T = "2026-11-20T21:07:03.114Z"


@pytest.fixture
def good(clock: Clock) -> Lab:
    lab = Lab(clock)
    lab.run()
    return lab


def forged(lab: Lab, kind: str, device: str | None = None, **fields: object) -> Record:
    return make_record(Entry(kind, lab.plan.rollout, device, fields), 0, T, "eve")


def place(records: Sequence[Record], kind: str, device: str | None, stage: str = "") -> int:
    return next(
        n
        for n, record in enumerate(records)
        if (record.kind, record.device) == (kind, device)
        and stage in ("", record.fields.get("stage"))
    )


def with_at(records: Sequence[Record], at: int, *more: Record) -> list[Record]:
    return [*records[:at], *more, *records[at:]]


def test_confirm_of_what_went_back_by_itself(good: Lab) -> None:
    records = good.journal.records
    at = place(records, "image-confirm-requested", "a1")
    back = forged(good, "device-reverted", "a1", hash=OLD, why="watchdog")
    found = violations(good, with_at(records, at, back))
    assert found[0] == (
        "image-confirm-requested", "a1 was to be confirmed, but it is self-reverted",
    )  # fmt: skip


def test_skip_of_a_device_that_runs_something_else(good: Lab) -> None:
    records = [r for r in good.journal.records if r.device != "r1"]
    at = place(records, "wave-started", None, "rig")
    asked = forged(good, "device-check-requested", "r1")
    skipped = forged(good, "device-skipped", "r1", hash=OLD)
    found = violations(good, with_at(records, at, asked, skipped))
    assert found[0][0] == "device-skipped"
    assert "does not run the release" in found[0][1]


def test_gate_that_passes_over_a_device_that_was_lost_on_the_way(good: Lab) -> None:
    records = good.journal.records
    sent = place(records, "image-uploaded", "a2")
    kept = [r for n, r in enumerate(records) if n < sent or r.device != "a2"]
    lost = forged(good, "device-unreachable", "a2", why="silent", sent=True)
    found = violations(good, with_at(kept, sent, lost))
    assert ("gate-passed", "the gate of stage canary passed, but a2 is unreachable") in found


def test_stage_that_begins_after_an_earlier_one_had_failed(good: Lab) -> None:
    records = good.journal.records
    at = place(records, "stage-started", None, "canary")
    failed = forged(good, "gate-failed", stage="rig", why="since it passed")
    found = violations(good, with_at(records, at, failed))
    assert "the gate of stage rig had not passed" in found[0][1]
    verdict = forged(good, "verdict-reached", "r1", outcome="failed", why="drifts")
    found = violations(good, with_at(records, at, verdict))
    assert found[0] == (
        "stage-started", "stage canary began, but the latest verdict on r1 is `failed`",
    )  # fmt: skip


def test_ended_rollout_does_not_go_on(good: Lab) -> None:
    more = [forged(good, "rollout-resumed"), forged(good, "device-check-requested", "a1")]
    found = violations(good, [*good.journal.records, *more])
    assert found == [
        ("device-check-requested", "a1 was asked for something after the rollout had ended")
    ]
    again = forged(good, "rollout-ended", outcome="confirmed", why="twice")
    assert "it had ended before" in violations(good, [*good.journal.records, again])[0][1]


def test_end_that_claims_stages_which_never_ran(good: Lab) -> None:
    records = good.journal.records
    cut = place(records, "gate-passed", None, "canary") + 1
    found = violations(good, [*records[:cut], records[-1]])
    assert found == [
        ("rollout-ended", "it ended confirmed, but the gate of stage fleet had not passed")
    ]


def test_two_rollouts_at_a_time(good: Lab) -> None:
    records = good.journal.records
    at = place(records, "stage-started", None, "canary")
    other = replace(forged(good, "rollout-started", plan="0", release=NEW, version="1"),
                    rollout="r-00000000")  # fmt: skip
    found = violations(good, with_at(records, at, other))
    assert found[0] == ("rollout-started", f"it was started while {good.plan.rollout} was open")


@pytest.mark.parametrize(("name", "value"), [("release", "cc" * 32), ("version", "9.9.9")])
def test_start_that_says_otherwise_than_its_plan(good: Lab, name: str, value: str) -> None:
    found = violations(good, changed(good, "rollout-started", None, **{name: value}))
    assert f"its {name} is not the one of its plan" in found[0][1]


def test_plan_of_another_rollout(good: Lab) -> None:
    other = "r-00000000"
    name = f"rollouts/{good.plan.rollout}/"
    for entry in ("plan.json", "readings.jsonl"):
        data = good.storage.read(name + entry)
        good.storage.write_atomic(f"rollouts/{other}/{entry}", data)
    records = [replace(record, rollout=other) for record in good.journal.records]
    assert f"its plan is that of {good.plan.rollout}" in violations(good, records)[0][1]


def test_check_of_a_device_that_ran_something_unplanned(good: Lab) -> None:
    found = violations(good, changed(good, "device-checked", "a1", hash="cc" * 32))
    assert "ran another image than the plan says" in found[0][1]


@pytest.mark.parametrize(
    ("kind", "device", "fields", "message"),
    [
        ("stage-started", None, {"stage": ["rig"]}, "its `stage` is no str"),
        ("stage-approved", None, {"by": {"x": 1}}, "its `by` is no str"),
        ("verdict-reached", "a1", {"outcome": "splendid"}, "its `outcome` is none of failed"),
        ("verdict-reached", "a1", {"evidence": []}, "its `evidence` is no dict"),
        ("rollout-ended", None, {"outcome": "great"}, "its `outcome` is none of aborted"),
        ("wave-started", None, {"wave": True}, "its `wave` is no int"),
        ("test-booted", "a1", {"t_s": "soon"}, "its `t_s` is no float or int"),
    ],
)
def test_field_of_a_form_that_no_cryofw_writes(
    good: Lab, kind: str, device: str | None, fields: dict[str, object], message: str
) -> None:
    found = violations(good, changed(good, kind, device, **fields))
    assert any(one[0] == kind and message in one[1] for one in found)


def test_every_kind_of_a_rollout_has_a_known_shape() -> None:
    assert set(EVENTS) | set(COMMANDS) == SHAPED


def test_device_whose_name_only_looks_like_another(good: Lab) -> None:
    lookalike = "\u0430" + "1"  # a Cyrillic a
    records = [
        replace(r, device=lookalike) if r.device == "a1" else r for r in good.journal.records
    ]
    found = violations(good, records)
    assert ("device-checked", r"no device can be called '\u04301'") in found
    assert any(r"\u04301 runs" in line.text for line in tell(records, Filter()))


def rewritten(clock: Clock, *entries: Entry) -> MemoryStorage:
    storage = MemoryStorage()
    with Journal.open(storage, clock=clock, who="eve") as journal:
        journal.append_many(entries)
    return storage


def test_journal_that_goes_on_after_it_was_closed(clock: Clock) -> None:
    closed = Entry(CLOSED, fields={"by": "eve", "why": ""})
    storage = rewritten(clock, closed, Entry("device-unpinned", "", "c1", {"by": "eve", "why": ""}))
    with pytest.raises(AuditFailed) as caught:
        verify_log(storage)
    assert [(v.record, v.message) for v in caught.value.violations] == [
        (1, "record 0 had closed this journal")
    ]


def test_journal_that_is_closed_in_the_middle_of_a_rollout(good: Lab) -> None:
    records = good.journal.records
    at = place(records, "stage-started", None, "canary")
    closed = replace(forged(good, CLOSED, by="eve", why=""), rollout="")
    found = violations(good, [*records[:at], closed])
    assert found == [(CLOSED, f"the journal was closed while {good.plan.rollout} was open")]


@pytest.mark.parametrize("kind", [CLOSED, CONTINUED, "journal-rehomed"])
def test_act_on_a_journal_without_a_name(clock: Clock, kind: str) -> None:
    storage = rewritten(
        clock, Entry("device-unpinned", "", "c1", {"by": "eve", "why": ""}), Entry(kind)
    )
    with pytest.raises(AuditFailed, match="does not say who did it"):
        verify_log(storage)


def test_journal_that_continues_another_only_in_the_middle(clock: Clock) -> None:
    middle = Entry(CONTINUED, fields={"by": "eve", "origin": "x/abc", "size": 1, "root": "00" * 32})
    storage = rewritten(clock, Entry("device-unpinned", "", "c1", {"by": "eve", "why": ""}), middle)
    with pytest.raises(AuditFailed, match="only the first record"):
        verify_log(storage)


def test_journal_that_continues_itself(clock: Clock) -> None:
    fields = {"by": "eve", "origin": "cryofw/journal/abc", "size": 1, "root": "00" * 32}
    storage = rewritten(clock, Entry(CONTINUED, fields=fields))
    storage.write_atomic("retired/abc.jsonl", storage.read("journal.jsonl"))
    text = storage.read("checkpoint.json").replace(b'"journal.jsonl"', b'"retired/abc.jsonl"')
    storage.write_atomic("retired/abc.jsonl.checkpoint.json", text)
    with pytest.raises(JournalCorrupt, match="continues itself"):
        verify_log(storage)
