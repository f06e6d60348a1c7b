"""Journals of real decisions, and how a forger with access to everything writes them anew."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import AuditFailed, verify_log
from cryofw.fleet import Reach
from cryofw.health import EvidenceContract, Heartbeat, HeartbeatMissed
from cryofw.journal import Entry, Journal, MemoryStorage, Record
from cryofw.release import Firmware
from cryofw.rollout import (
    CheckDevice,
    Command,
    ConfirmImage,
    Connection,
    Event,
    Plan,
    PlannedDevice,
    PlannedStage,
    RollBackDevice,
    Rollout,
    Step,
    TestImage,
    UploadImage,
    fields_of,
)
from cryofw.rollout import events as e

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.clock import Clock

NEW, OLD = "aa" * 32, "bb" * 32
READINGS = b'{"d":"a1","a":1}\n{"d":"b1","a":1}\n'


def a_plan() -> Plan:
    stages = (
        PlannedStage("rig", (("r1",),), Reach.STAGE, 0.5, False),
        PlannedStage("canary", (("a1", "a2"),), Reach.STAGE, 0.5, True),
        PlannedStage("fleet", (("b1",), ("b2",)), Reach.STAGE, 0.5, False),
    )
    last_good = Firmware(OLD, "ee" * 32, "1.0.0", 2, 4096, "cc40", "dd" * 32)
    devices = {
        name: PlannedDevice(
            name=name,
            cryostat=f"cryo-{name[0]}",
            stage=stage.name,
            connection=Connection(f"sim://{name}", 115200, True, (), (), 5.0, 2.0, 3, 1.0, ""),
            hw="",
            board="cc40",
            running_hash=OLD,
            running_version="1.0.0",
            last_good=last_good,
            way_back=True,
            lease_ttl_s=60.0,
            evidence=EvidenceContract(60.0, 120.0, 10.0, 2, 30.0, 0, 0),
        )
        for stage in stages
        for name in stage.devices
    }
    release = replace(last_good, hash=NEW, version="1.1.0")
    slots = {f"cryo-{name}": 9 for name in "rab"}
    return Plan("lab", "f" * 64, release, stages, devices, slots, "anna", "2026-01-01", "00")


def answer(command: Command, now_s: float) -> Event:
    name = command.device
    match command:
        case CheckDevice():
            return e.DeviceChecked(name, OLD, "1.0.0")
        case UploadImage():
            return e.ImageUploaded(name, NEW)
        case TestImage():
            return e.TestBooted(name, NEW, now_s, boot=7)
        case ConfirmImage():
            return e.ImageConfirmed(name, NEW, 7)
        case RollBackDevice():
            return e.DeviceRolledBack(name, OLD, "reset")
        case _:
            raise AssertionError(command)


class Lab:
    """Runs the real decisions and journals every step; `silent` devices hang on new firmware."""

    def __init__(self, clock: Clock, silent: tuple[str, ...] = ()) -> None:
        self.plan = a_plan()
        self.rollout = Rollout(self.plan)
        self.storage = MemoryStorage()
        self.clock = clock
        self.silent = silent
        self.now_s = 0.0
        self.storage.write_atomic(f"rollouts/{self.plan.rollout}/plan.json", self.plan.canonical)
        self.storage.append(f"rollouts/{self.plan.rollout}/readings.jsonl", READINGS)
        self.journal = Journal.open(self.storage, clock=clock, who="anna@lab")

    def tell(self, event: Event) -> None:
        steps: list[Step] = [] if isinstance(event, e.ReadingTaken) else [event]
        steps += self.rollout.receive(event)
        self.journal.append_many(self.entry(step) for step in steps)
        for step in steps:
            if isinstance(step, Command):
                self.tell(answer(step, self.now_s))

    def entry(self, step: Step) -> Entry:
        fields = fields_of(step)
        if isinstance(step, e.VerdictReached) and step.device == "a1":
            digest = hashlib.sha256(READINGS.splitlines(keepends=True)[0]).hexdigest()
            fields["readings"] = {"count": 1, "sha256": digest}
        return Entry(step.kind, self.plan.rollout, getattr(step, "device", None), fields)

    def run(self) -> None:
        self.tell(e.RolloutStarted(self.plan.digest, NEW, "1.1.0"))
        self.beat()
        if self.rollout.state.paused == "approval":
            self.tell(e.StageApproved("fleet", "bert", "looks good"))
            self.tell(e.RolloutResumed())
            self.beat()
        self.journal.close()

    def beat(self) -> None:
        while not self.rollout.at_rest:
            self.now_s += 10
            for name in sorted(self.rollout.watched()):
                running = self.rollout.state.devices[name].running_hash
                reading: Heartbeat | HeartbeatMissed = Heartbeat(
                    self.now_s, running, 7, int(self.now_s * 1000)
                )
                if name in self.silent and running == NEW:
                    reading = HeartbeatMissed(self.now_s, "no answer")
                self.tell(e.ReadingTaken(name, reading))


def without(kind: str, device: str = "", stage: str = "") -> Callable[[Record], bool]:
    def keeps(record: Record) -> bool:
        return not (
            record.kind == kind
            and device in ("", record.device)
            and stage in ("", record.fields.get("stage"))
        )

    return keeps


def renumbered(records: list[Record]) -> tuple[Record, ...]:
    """As a forger would: numbers in order, and a checkpoint made to fit."""
    return tuple(replace(record, n=n) for n, record in enumerate(records))


def violations(lab: Lab, records: list[Record]) -> list[tuple[str, str]]:
    """Rewrite journal and checkpoint wholly, as one with access to both could; then audit."""
    storage = MemoryStorage()
    for name in lab.storage.list("rollouts/"):
        storage.write_atomic(name, lab.storage.read(name))
    with Journal.open(storage, clock=lab.clock, who="anna@lab") as journal:
        journal.append_many(
            Entry(record.kind, record.rollout, record.device, record.fields)
            for record in renumbered(records)
        )
    with pytest.raises(AuditFailed) as caught:
        verify_log(storage)
    failed = caught.value
    assert failed.exit_code == 4
    first = failed.violations[0]
    assert f"record {first.record} at byte {first.offset}" in failed.why
    data = storage.read("journal.jsonl")
    assert json.loads(data[first.offset :].split(b"\n")[0])["n"] == first.record
    return [(violation.kind, violation.message) for violation in failed.violations]


def changed(lab: Lab, kind: str, device: str | None, **fields: object) -> list[Record]:
    records = list(lab.journal.records)
    for index, record in enumerate(records):
        if record.kind == kind and record.device == device:
            records[index] = replace(record, fields={**record.fields, **fields})
            return records
    raise AssertionError(kind)
