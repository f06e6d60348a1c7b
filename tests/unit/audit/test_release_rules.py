"""The audit against journals that hide where firmware came from, or who broke the glass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.audit import find_violations
from cryofw.audit.evidence import Evidence
from cryofw.journal import Entry, Journal, MemoryStorage
from cryofw.release import ReleaseOrigin
from cryofw.rollout import commands as c
from cryofw.rollout import events as e
from cryofw.rollout import fields_of
from cryofw.rollout.release_events import ExpiryForgiven, ReleaseVerified, origin_events
from tests.unit.rollout.pair_lab import DEVICE, a_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.clock import Clock
    from cryofw.rollout import Plan

ORIGIN = ReleaseOrigin(
    source="lab.zip",
    root="ab" * 32,
    release="cc40/1.1.0",
    number=2,
    versions={"root": 1, "timestamp": 5},
    expires="2026-11-01T00:00:00Z",
    forgiven=("timestamp",),
    by="anna@lab",
    why="no courier before Monday",
)


def violations(plan: Plan, told: Sequence[e.Event], clock: Clock) -> list[str]:
    """What the rules say of a rollout that begins so."""
    storage = MemoryStorage()
    storage.write_atomic(f"rollouts/{plan.rollout}/plan.json", plan.canonical)
    release = plan.release
    first = e.RolloutStarted(plan.digest, release.hash, release.version, "", "anna@lab")
    stage = e.StageStarted(plan.stages[0].name)
    sent = c.UploadImage(DEVICE, release.hash, "")
    steps: list[e.Event | c.Command] = [first, stage, *told, sent]
    with Journal.open(storage, clock=clock, who="anna@lab") as journal:
        for step in steps:
            device = getattr(step, "device", None)
            journal.append_many([Entry(step.kind, plan.rollout, device, fields_of(step))])
        records = list(journal.records)
    found = [one.message for one in find_violations(records, Evidence(storage))]
    return [message for message in found if "was not checked before" not in message]


@pytest.fixture
def plan() -> Plan:
    """One whose release had expired, and was accepted."""
    return replace(a_plan(), origin=ORIGIN)


def test_an_honest_journal_passes(plan: Plan, clock: Clock) -> None:
    assert violations(plan, origin_events(plan.origin), clock) == []
    assert violations(replace(plan, origin=None), (), clock) == []
    fresh = replace(ORIGIN, forgiven=(), by="", why="")
    assert violations(replace(plan, origin=fresh), origin_events(fresh), clock) == []


def test_what_is_left_out_is_found(plan: Plan, clock: Clock) -> None:
    verified, forgiven = origin_events(plan.origin)

    (message,) = violations(plan, [verified], clock)
    assert "the plan's expiry-forgiven was not recorded" in message
    (message,) = violations(plan, [forgiven], clock)
    assert "the plan's release-verified was not recorded" in message
    (message,) = violations(plan, [], clock)
    assert "expiry-forgiven and release-verified" in message


@pytest.mark.parametrize(
    "forged",
    [
        ReleaseVerified("cc40/1.1.0", 2, "https://else.where", "ab" * 32, ORIGIN.expires),
        ReleaseVerified("cc40/9.9.9", 2, "lab.zip", "ab" * 32, ORIGIN.expires, "", ORIGIN.versions),
        ExpiryForgiven(("timestamp",), "somebody else", ORIGIN.why, ORIGIN.expires),
        ExpiryForgiven((), "anna@lab", ORIGIN.why, ORIGIN.expires),
    ],
)
def test_what_is_told_otherwise_is_found(plan: Plan, forged: e.Event, clock: Clock) -> None:
    told = [forged if forged.kind == event.kind else event for event in origin_events(ORIGIN)]

    assert violations(plan, told, clock) == ["it is not what the plan says of its release"]


def test_an_exception_that_the_plan_does_not_know_is_found(plan: Plan, clock: Clock) -> None:
    none = replace(plan, origin=None)
    found = violations(none, [ExpiryForgiven(("root",), "", "why not")], clock)

    assert found == ["it does not say who did it", "the plan knows nothing of it"]
