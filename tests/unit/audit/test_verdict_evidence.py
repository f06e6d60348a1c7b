"""Verdicts that do not follow from their readings, in journals and readings that agree."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import AuditFailed, VerdictEvidence, verify_log
from cryofw.engine.reading_log import LoggedReading, ReadingLog
from cryofw.journal import Entry, Journal, MemoryStorage
from cryofw.rollout import Step, fields_of
from cryofw.rollout import events as e
from tests.unit.audit.audited_lab import Lab, renumbered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryofw.clock import Clock
    from cryofw.journal import Record
    from cryofw.rollout import Event


class WatchedLab(Lab):
    """Keeps its readings beside the journal, as the engine does."""

    def __init__(self, clock: Clock, silent: tuple[str, ...] = ()) -> None:
        super().__init__(clock, silent)
        self.storage.remove(f"rollouts/{self.plan.rollout}/readings.jsonl")
        self.readings = ReadingLog(self.storage, self.plan.rollout)

    def tell(self, event: Event) -> None:
        if isinstance(event, e.ReadingTaken):
            progress = self.rollout.state.devices[event.device]
            phase = progress.watch.phase
            logged = LoggedReading(
                event.device, progress.attempt, phase, event.reading, self.journal.size
            )
            self.readings.add(logged)
        super().tell(event)

    def entry(self, step: Step) -> Entry:
        fields = fields_of(step)
        if isinstance(step, e.VerdictReached | e.BaselineTaken):
            self.readings.flush()
            fields["readings"] = self.readings.evidence(step.device)
        return Entry(step.kind, self.plan.rollout, getattr(step, "device", None), fields)

    def run(self) -> None:
        super().run()
        self.readings.flush()


@pytest.fixture
def good(clock: Clock) -> WatchedLab:
    lab = WatchedLab(clock)
    lab.run()
    return lab


Line = dict[str, object]


def said(lab: WatchedLab, records: Sequence[Record], lines: Sequence[Line]) -> list[str]:
    """What the audit says of a journal and readings that were written anew, digests and all."""
    storage = MemoryStorage()
    rollout = lab.plan.rollout
    storage.write_atomic(f"rollouts/{rollout}/plan.json", lab.plan.canonical)
    digests = ReadingLog(storage, rollout)
    waiting = list(lines)
    anew = []
    for record in renumbered(list(records)):
        while waiting and int(str(waiting[0]["n"])) <= record.n:
            line = waiting.pop(0)
            digests._add(str(line["d"]), 0.0, line)
        fields = dict(record.fields)
        if "readings" in fields:
            fields["readings"] = digests.evidence(str(record.device))
        anew.append(Entry(record.kind, record.rollout, record.device, fields))
    for line in waiting:
        digests._add(str(line["d"]), 0.0, line)
    digests.flush()
    with Journal.open(storage, clock=lab.clock, who="eve") as journal:
        journal.append_many(anew)
    try:
        verify_log(storage, checks=[VerdictEvidence(storage)])
    except AuditFailed as failed:
        return [f"{one.kind} {one.message}" for one in failed.violations]
    return []


def lines_of(lab: WatchedLab) -> list[Line]:
    data = lab.storage.read(f"rollouts/{lab.plan.rollout}/readings.jsonl")
    return [json.loads(line) for line in data.splitlines()]


def changed_lines(lab: WatchedLab, device: str, change: Callable[[Line], Line]) -> list[Line]:
    return [change(dict(line)) if line["d"] == device else line for line in lines_of(lab)]


@pytest.mark.parametrize("silent", [(), ("a2",)])
def test_honest_verdicts_are_drawn_again(clock: Clock, silent: tuple[str, ...]) -> None:
    lab = WatchedLab(clock, silent)
    lab.run()
    check = VerdictEvidence(lab.storage)
    verify_log(lab.storage, checks=[check])
    verdicts = [r for r in lab.journal.records if r.kind == "verdict-reached"]
    assert check.drawn == len(verdicts) > 1
    assert said(lab, lab.journal.records, lines_of(lab)) == []


def test_pass_without_the_soak(good: WatchedLab) -> None:
    """The device's own uptime stands still: the soak is never over."""
    found = said(good, good.journal.records, changed_lines(good, "a1", lambda one: one | {"up": 1}))
    assert found[0].startswith("verdict-reached the verdict is `passed`; from the same readings")


def test_pass_of_a_device_that_was_silent(good: WatchedLab) -> None:
    tested = next(r.n for r in good.journal.records if (r.kind, r.device) == ("test-booted", "a1"))
    kept = [one for one in lines_of(good) if one["d"] != "a1" or int(str(one["n"])) <= tested]
    found = said(good, good.journal.records, kept)
    assert found[0].endswith("from the same readings follows none")


def test_pass_on_heartbeats_of_another_image(good: WatchedLab) -> None:
    def other(line: Line) -> Line:
        return {k: "cc" * 32 if v == "aa" * 32 else v for k, v in line.items()}

    assert "`passed`; from the same" in said(
        good, good.journal.records, changed_lines(good, "a1", other)
    )[0]  # fmt: skip


def test_failure_that_is_called_a_pass(clock: Clock) -> None:
    lab = WatchedLab(clock, silent=("a2",))
    lab.run()
    records = [
        replace(r, fields={**r.fields, "outcome": "passed"})
        if (r.kind, r.device, r.fields.get("outcome")) == ("verdict-reached", "a2", "failed")
        else r
        for r in lab.journal.records
    ]
    assert "the verdict is `passed`; from the same readings follows `failed`" in said(
        lab, records, lines_of(lab)
    )[0]  # fmt: skip


def forged_verdict(lab: WatchedLab, change: Callable[[dict[str, object]], object]) -> list[Record]:
    records = list(lab.journal.records)
    at = next(n for n, r in enumerate(records) if (r.kind, r.device) == ("verdict-reached", "a1"))
    fields = json.loads(json.dumps(records[at].fields))
    change(fields)
    records[at] = replace(records[at], fields=fields)
    return records


def test_number_that_does_not_follow(good: WatchedLab) -> None:
    def better(fields: dict[str, object]) -> None:
        evidence = fields["evidence"]
        assert isinstance(evidence, dict)
        assert isinstance(evidence["heartbeats"], dict)
        evidence["heartbeats"]["beats"] = 3600

    (found,) = said(good, forged_verdict(good, better), lines_of(good))
    assert found.startswith("verdict-reached its number heartbeats.beats is not the one that")


def test_verdict_that_rests_on_nothing(good: WatchedLab) -> None:
    found = said(good, forged_verdict(good, lambda fields: fields.pop("readings")), lines_of(good))
    assert found == ["verdict-reached it does not say on which readings it rests"]


def test_step_that_the_table_of_states_forbids(good: WatchedLab) -> None:
    records = list(good.journal.records)
    at = next(n for n, r in enumerate(records) if (r.kind, r.device) == ("verdict-reached", "a1"))
    stuck = replace(records[at], kind="device-rolled-back", fields={"hash": "bb" * 32})
    found = said(good, [*records[:at], stuck, *records[at:]], lines_of(good))
    assert any("it does not follow from what stands before it" in one for one in found)


def test_damaged_readings_are_named(good: WatchedLab) -> None:
    name = f"rollouts/{good.plan.rollout}/readings.jsonl"
    good.storage.append(name, b'{"d":"a1","n":"x"}\n')
    with pytest.raises(AuditFailed, match=r"readings\.jsonl is damaged"):
        verify_log(good.storage, checks=[VerdictEvidence(good.storage)])
