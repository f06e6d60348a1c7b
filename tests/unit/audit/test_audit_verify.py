"""The audit against journals of real decisions, and against forgeries of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryofw.audit import AuditFailed, Filter, find_violations, tell, verify_log
from cryofw.audit.evidence import Evidence
from cryofw.errors import CryofwError
from cryofw.journal import (
    Entry,
    Journal,
    JournalCorrupt,
    MemoryStorage,
    StorageMissing,
)
from cryofw.journal.record import make_record
from tests.unit.audit.audited_lab import (
    NEW,
    OLD,
    Lab,
    changed,
    renumbered,
    violations,
    without,
)

if TYPE_CHECKING:
    from cryofw.clock import Clock


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@pytest.fixture
def good(clock: Clock) -> Lab:
    lab = Lab(clock)
    lab.run()
    return lab


@pytest.fixture
def bad(clock: Clock) -> Lab:
    lab = Lab(clock, silent=("a2",))
    lab.run()
    return lab


def test_honest_journals_pass(good: Lab, bad: Lab) -> None:
    for lab, outcome in ((good, "confirmed"), (bad, "rolled-back")):
        report = verify_log(lab.storage)
        assert report.records == report.anchored == lab.journal.size > 20
        assert (report.rollouts, report.repairs, report.unknown_kinds) == (1, 0, ())
        assert lab.journal.records[-1].fields["outcome"] == outcome
        assert report.root == lab.journal.root


@pytest.mark.parametrize(
    ("kind", "device", "stage", "caught_at", "message"),
    [
        ("rollout-started", "", "", "stage-started", "no rollout r-"),
        ("stage-started", "", "rig", "device-check-requested", "before any stage began"),
        ("stage-started", "", "fleet", "device-check-requested", "before its stage fleet began"),
        ("gate-passed", "", "rig", "stage-started", "the gate of stage rig had not passed"),
        ("gate-passed", "", "canary", "stage-started", "the gate of stage canary had not passed"),
        ("stage-approved", "", "fleet", "stage-started", "asks for an approval of stage fleet"),
        ("rollout-resumed", "", "", "device-check-requested", "after the rollout was paused"),
        ("wave-started", "", "canary", "image-upload-requested", "before its wave began"),
        ("device-check-requested", "a1", "", "device-checked", "device-check-requested for a1"),
        ("device-checked", "a1", "", "image-upload-requested", "a1 was not checked before"),
        ("image-upload-requested", "a1", "", "image-uploaded", "image-upload-requested for a1"),
        ("image-uploaded", "a1", "", "image-test-requested", "upload to a1 was not proven"),
        ("image-test-requested", "a1", "", "test-booted", "image-test-requested for a1"),
        ("test-booted", "a1", "", "image-confirm-requested", "a1 was to be confirmed without"),
        ("verdict-reached", "a1", "", "image-confirm-requested", "`passed`; there is none"),
        ("image-confirm-requested", "a1", "", "image-confirmed", "image-confirm-requested for a1"),
        ("image-confirmed", "a1", "", "gate-passed", "while a1 was in test boot"),
    ],
)
def test_removed_record_is_missed(
    good: Lab, kind: str, device: str, stage: str, caught_at: str, message: str
) -> None:
    kept = [record for record in good.journal.records if without(kind, device, stage)(record)]
    assert len(kept) < good.journal.size
    found = violations(good, kept)
    assert found[0][0] == caught_at
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("kind", "device", "message"),
    [
        ("device-rollback-requested", "a1", "device-rollback-requested for a1 does not stand"),
        ("device-rolled-back", "a1", "the rollout ended while a1 was rolling back"),
    ],
)
def test_removed_record_of_a_rollback_is_missed(
    bad: Lab, kind: str, device: str, message: str
) -> None:
    kept = [record for record in bad.journal.records if without(kind, device)(record)]
    assert message in violations(bad, kept)[0][1]


@pytest.mark.parametrize(
    ("kind", "device", "fields", "message"),
    [
        ("verdict-reached", "a1", {"outcome": "inconclusive"}, "the last one is `inconclusive`"),
        ("image-upload-requested", "a1", {"hash": "cc" * 32}, "not the release of this rollout"),
        ("image-test-requested", "a1", {"hash": "cc" * 32}, "not the release of this rollout"),
        ("image-confirm-requested", "a1", {"hash": "cc" * 32}, "another image than it had booted"),
        ("image-confirmed", "a1", {"hash": "cc" * 32}, "another image than was asked of a1"),
        ("stage-approved", None, {"by": ""}, "does not say who"),
        ("rollout-started", None, {"plan": "0" * 64}, "not the plan that the rollout was started"),
        ("verdict-reached", "a1", {"readings": {"count": 9, "sha256": ""}}, "1 are at hand"),
        ("verdict-reached", "a1", {"readings": {"count": 1, "sha256": ""}}, "are not those"),
        ("verdict-reached", "a1", {"readings": {"count": -1}}, "is not a number"),
        ("wave-started", None, {"wave": 2}, "wave 2 follows wave 0"),
        ("gate-passed", None, {"stage": "fleet"}, "fleet, which is not the current one"),
    ],
)
def test_changed_record_contradicts_another(
    good: Lab, kind: str, device: str | None, fields: dict[str, object], message: str
) -> None:
    assert message in violations(good, changed(good, kind, device, **fields))[0][1]


def test_rollback_to_a_foreign_image_is_found(bad: Lab) -> None:
    records = changed(bad, "device-rollback-requested", "a1", hash="cc" * 32)
    assert "did not run on it before" in violations(bad, records)[0][1]


def test_act_after_the_end_is_found(good: Lab) -> None:
    rollout = good.plan.rollout
    late = make_record(
        Entry("image-test-requested", rollout, "a1", {"hash": NEW, "running": OLD}),
        0, "2026-11-20T21:07:03.114Z", "eve",
    )  # fmt: skip
    found = violations(good, [*good.journal.records, late])
    assert found == [
        ("image-test-requested", "a1 was asked for something after the rollout had ended")
    ]


def test_act_on_a_quarantined_device_is_found(good: Lab) -> None:
    records = list(good.journal.records)
    at = next(n for n, record in enumerate(records) if record.kind == "image-test-requested")
    device = records[at].device
    locked = replace(records[at], kind="device-quarantined", fields={"why": "x"})
    assert f"{device} was in quarantine" in violations(
        good, [*records[:at], locked, *records[at:]]
    )[0][1]  # fmt: skip


def test_rollout_started_twice_is_found(good: Lab) -> None:
    records = list(good.journal.records)
    assert "was started before" in violations(good, [*records, records[0]])[0][1]


def test_known_kind_without_its_fields_is_found(good: Lab) -> None:
    records = list(good.journal.records)
    records[1] = replace(records[1], fields={})
    assert violations(good, records)[0] == ("stage-started", "it lacks stage")


def test_lost_evidence_is_found(good: Lab) -> None:
    rollout = good.plan.rollout
    good.storage.write_atomic(f"rollouts/{rollout}/readings.jsonl", b"not json\n[]\n")
    with pytest.raises(AuditFailed, match="0 are at hand"):
        verify_log(good.storage)
    good.storage.remove(f"rollouts/{rollout}/plan.json")
    with pytest.raises(AuditFailed, match=r"plan\.json is missing"):
        verify_log(good.storage)
    good.storage.write_atomic(f"rollouts/{rollout}/plan.json", b"{}")
    with pytest.raises(AuditFailed, match="is not the plan"):
        verify_log(good.storage)


def test_rules_hold_without_evidence_at_hand(good: Lab) -> None:
    records = list(good.journal.records)
    assert find_violations(tuple(records), None) == []
    forged = renumbered([record for record in records if without("gate-passed")(record)])
    assert "had not passed" in find_violations(forged, None)[0].message


def test_bytes_come_before_rules(good: Lab) -> None:
    data = good.storage.disk.entries["journal.jsonl"]
    good.storage.disk.entries["journal.jsonl"] = data.replace(b'"passed"', b'"Passed"', 1)
    with pytest.raises(JournalCorrupt):
        verify_log(good.storage)
    good.storage.disk.entries["journal.jsonl"] = data
    del good.storage.disk.entries["checkpoint.json"]
    with pytest.raises(JournalCorrupt, match="no checkpoint"):
        verify_log(good.storage)
    with pytest.raises(StorageMissing):
        verify_log(MemoryStorage())


def test_every_flipped_bit_of_a_rollout_s_journal_is_found(good: Lab) -> None:
    data = good.storage.read("journal.jsonl")
    assert good.journal.size >= 50
    for bit in range(0, len(data) * 8, 97):
        changed_data = bytearray(data)
        changed_data[bit // 8] ^= 1 << bit % 8
        good.storage.disk.entries["journal.jsonl"] = bytes(changed_data)
        with pytest.raises(CryofwError) as caught:
            verify_log(good.storage)
        assert caught.value.exit_code in (4, 5)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_forgery_gives_an_answer(good: Lab, data: st.DataObject) -> None:
    """Whatever stands in the fields: an answer, never a traceback."""
    records = list(good.journal.records)
    kinds = sorted({record.kind for record in records})
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(records) - 1))
        record = records[at]
        fields = dict(record.fields)
        if fields:
            fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(JSON)
        records[at] = replace(
            record,
            fields=fields,
            kind=data.draw(st.sampled_from([record.kind, *kinds])),
            device=data.draw(st.sampled_from([record.device, None, "a1", "zz"])),
        )
    found = find_violations(renumbered(records), Evidence(good.storage))
    assert all(violation.message for violation in found)
    assert len(list(tell(records, Filter()))) == len(records)


def test_story_says_who_did_what_and_why(good: Lab) -> None:
    told = list(tell(good.journal.records, Filter()))
    assert len(told) == good.journal.size
    assert told[0].text == "started the rollout of 1.1.0"
    texts = [line.text for line in told]
    assert "a1 runs 1.1.0 on trial" in texts
    assert "the gate of stage canary is PASSED" in texts
    approval = next(line for line in told if line.text == "approved stage fleet")
    assert (approval.who, approval.reasons) == ("bert", ("looks good",))
    assert (told[0].day, told[0].time) == ("2026-11-20", "21:07:03")
    assert not any("?" in text for text in texts)


def test_story_of_a_rollback_names_the_reason(bad: Lab) -> None:
    told = list(tell(bad.journal.records, Filter(device="a2")))
    back = next(line for line in told if line.text == "taking a2 back to 1.0.0")
    assert "heartbeat" in " ".join(back.reasons)


def test_filters(good: Lab) -> None:
    records = good.journal.records

    def kinds(wanted: Filter) -> set[tuple[str | None, str]]:
        return {(records[line.n].device, records[line.n].kind) for line in tell(records, wanted)}

    assert kinds(Filter(kind="gate-passed")) == {(None, "gate-passed")}
    assert {device for device, _ in kinds(Filter(device="b2"))} == {"b2"}
    assert kinds(Filter(rollout="r-none")) == set()
    assert len(list(tell(records, Filter(rollout=good.plan.rollout[:4])))) == len(records)
    assert [line.n for line in tell(records, Filter(around=7, span=2))] == [5, 6, 7, 8, 9]


def test_story_does_not_steer_the_terminal() -> None:
    entry = Entry("device-refused", "r-1", "c1", {"why": "\x1b[2J\u202eevil", "hint": "a\nb"})
    (line,) = tell([make_record(entry, 0, "2026-11-20T21:07:03.114Z", "w\x07")], Filter())
    assert line.reasons == (" [2J evil", "hint: a b")
    assert line.who == "w "


def test_unknown_kinds_are_told_plainly_and_named_by_the_audit(clock: Clock) -> None:
    storage = MemoryStorage()
    with Journal.open(storage, clock=clock, who="me") as journal:
        journal.append("lab-adopted", device="c1", why="by hand")
        (line,) = tell(journal.records, Filter())
    assert (line.text, line.reasons) == ("lab adopted c1", ("by hand",))
    assert verify_log(storage).unknown_kinds == ("lab-adopted",)


def test_every_kind_of_a_rollout_has_its_phrase() -> None:
    from cryofw.audit.ledger import ROLLOUT_KINDS
    from cryofw.audit.story import _PHRASES

    assert set(_PHRASES) >= ROLLOUT_KINDS
