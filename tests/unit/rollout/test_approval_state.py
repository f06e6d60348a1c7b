"""Who approved what, and until when: also for a host whose clock is set back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from cryofw.rollout import Rollout
from cryofw.rollout import events as e
from cryofw.rollout.plan import PlannedPolicy
from tests.unit.rollout.perfect_lab import a_plan
from tests.unit.trust.people import NOW, People, signed, statement

POLICY = PlannedPolicy("ab" * 32, 3, "policy.yaml", {"fleet": 1})


def test_an_approval_that_expired_does_not_come_back_with_the_clock() -> None:
    people = People()
    rollout = Rollout(replace(a_plan(), policy=POLICY))
    approvals = rollout.state.approvals
    proof = signed(people.keys["bart"], statement(people.policy()))
    rollout.receive(e.StageApproved("fleet", "bart@lab", "", proof.fields))
    until = NOW + timedelta(hours=24)

    rollout.receive(e.ClockTicked(until.timestamp() - 1))
    assert approvals.standing("fleet", rollout.state.now_s) == ["bart@lab"]
    rollout.receive(e.ClockTicked(until.timestamp()))
    assert approvals.standing("fleet", rollout.state.now_s) == []
    rollout.receive(e.ClockTicked(NOW.timestamp()))
    assert approvals.standing("fleet", rollout.state.now_s) == []
