"""The audit against devices that were overwritten or recovered without anybody's word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import find_violations
from cryofw.audit.evidence import Evidence
from cryofw.journal import Entry, Journal, MemoryStorage
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout import fields_of
from cryofw.rollout import recovery_events as rec
from cryofw.rollout.lab_events import DeviceAdopted
from tests.unit.rollout.pair_lab import DEVICE, NEW, OLD, a_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.clock import Clock
    from cryofw.rollout import Plan, Step

SLOT = "cc" * 32


def overwriting(*accepted: str, packed: bool = False) -> Plan:
    plan = a_plan()
    device = plan.devices[DEVICE]
    connection = replace(device.connection, overwrites=True)
    release = replace(
        plan.release,
        uploaded_hash=SLOT if packed else "",
        compression="lzma2" if packed else "",
    )
    return replace(
        plan,
        release=release,
        devices={**plan.devices, DEVICE: replace(device, connection=connection, coefficients={})},
        overrides={"no-way-back": accepted},
    )


def violations(steps: Sequence[Step], clock: Clock, plan: Plan | None = None) -> list[str]:
    storage = MemoryStorage()
    rollout = plan.rollout if plan else ""
    first: list[Step] = []
    if plan is not None:
        storage.write_atomic(f"rollouts/{rollout}/plan.json", plan.canonical)
        first = [
            e.RolloutStarted(plan.digest, plan.release.hash, plan.release.version, "", "anna"),
            e.StageStarted(plan.stages[0].name),
            c.CheckDevice(DEVICE),
            e.DeviceChecked(DEVICE, OLD, "1.0.0"),
            e.WaveStarted(plan.stages[0].name, 1, 1),
        ]
    with Journal.open(storage, clock=clock, who="anna@lab") as journal:
        for step in (*first, *steps):
            device = getattr(step, "device", None)
            of = "" if isinstance(step, DeviceAdopted | rec.RecoveryRequested) else rollout
            of = "" if isinstance(step, rec.DeviceRecovered | rec.RecoveryFailed) else of
            journal.append_many([Entry(step.kind, of, device, fields_of(step))])
        records = list(journal.records)
    return [one.message for one in find_violations(records, Evidence(storage))]


def trial(uploaded: str = "") -> list[Step]:
    return [
        c.UploadImage(DEVICE, NEW, OLD),
        e.ImageUploaded(DEVICE, NEW, uploaded_hash=uploaded),
        c.TestImage(DEVICE, NEW, OLD),
        e.TestBooted(DEVICE, NEW, 1.0),
    ]


@pytest.mark.parametrize("accepted", [(DEVICE,), ("*",)])
def test_overwritten_by_name(clock: Clock, accepted: tuple[str, ...]) -> None:
    assert violations(trial(), clock, overwriting(*accepted)) == []


def test_overwritten_in_silence(clock: Clock) -> None:
    (found,) = violations(trial(), clock, overwriting("another"))
    assert "nobody had accepted that there is no way back" in found


def test_a_compressed_image_was_seen_in_the_slot(clock: Clock) -> None:
    plan = overwriting(DEVICE, packed=True)
    assert violations(trial(SLOT), clock, plan) == []
    (found,) = violations(trial(), clock, plan)
    assert f"the plan says {SLOT}" in found


ASKED = rec.RecoveryRequested(DEVICE, "anna", OLD, "1.0.0", "ee" * 32)
DONE = rec.DeviceRecovered(DEVICE, "anna", OLD, "5a01")
FAILED = rec.RecoveryFailed(DEVICE, "anna", OLD, "not met")
ADOPTED = DeviceAdopted(DEVICE, "anna", OLD, "1.0.0", "verified", hw="5a01")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([ASKED, DONE], ""),
        ([ADOPTED, ASKED, FAILED, ASKED, DONE], ""),
        ([ASKED, ASKED, DONE], ""),
        ([DONE], "does not stand before it"),
        ([ASKED, DONE, DONE], "does not stand before it"),
        ([ASKED, FAILED, DONE], "does not stand before it"),
        ([ASKED, replace(DONE, hash=NEW)], "another image than was asked"),
        ([replace(ASKED, by=""), DONE], "who did it"),
        ([ADOPTED, ASKED, replace(DONE, hw="5a77")], "answers as 5a77"),
    ],
)
def test_recovered_as_somebody_asked(clock: Clock, steps: list[Step], words: str) -> None:
    found = violations(steps, clock)
    assert len(found) == bool(words)
    assert words in "".join(found)


def test_recovered_across_a_rollout(clock: Clock) -> None:
    plan = a_plan()
    (found,) = violations([ASKED], clock, plan)
    assert f"while {plan.rollout} was at work on it" in found
