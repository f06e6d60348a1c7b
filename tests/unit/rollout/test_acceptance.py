"""A person accepts a held device by name: what follows from it, and what never does."""

from __future__ import annotations

import pytest

from cryofw.health import Heartbeat
from cryofw.rollout import ConfirmImage, DeviceState, Plan, Rollout
from cryofw.rollout import events as e
from cryofw.rollout import operator_events as oe
from cryofw.rollout.operator_state import why_not_acceptable
from tests.unit.rollout.perfect_lab import NEW, Lab, a_plan, started

ANNA = oe.DeviceAccepted("r1", "anna@lab", "the exporter is down, the scope looks fine")
_UNDECIDED = {"heartbeats": {"fresh": 3}}


def held(plan: Plan | None = None) -> Lab:
    """A rollout whose first device is held: its verdict decides nothing."""
    lab = started(plan or a_plan())
    assert lab.states()["r1"] == "watched"
    lab.tell(e.VerdictReached("r1", "inconclusive", "too few samples", _UNDECIDED, 10.0))
    assert lab.states()["r1"] == "held"
    return lab


def confirms(lab: Lab) -> list[str]:
    return [step.device for step in lab.steps if isinstance(step, ConfirmImage)]


def test_who_accepts_a_held_device_has_it_read_afresh_and_confirmed() -> None:
    lab = held()
    lab.tell(ANNA)
    assert confirms(lab) == ["r1"]
    assert lab.states()["r1"] == "confirmed"
    progress = lab.rollout.state.devices["r1"]
    assert progress.why.startswith("accepted by anna@lab; ")
    (gate,) = [s for s in lab.steps if isinstance(s, e.GatePassed)]
    assert gate.evidence["accepted"] == {"r1": "anna@lab"}


def test_the_next_gate_counts_only_its_own() -> None:
    lab = held()
    lab.tell(ANNA)
    lab.beats(200)
    gates = [s for s in lab.steps if isinstance(s, e.GatePassed)]
    assert len(gates) > 1
    assert ["accepted" in gate.evidence for gate in gates] == [True, *[False] * (len(gates) - 1)]


def test_nobody_accepts_what_is_not_held() -> None:
    lab = started(a_plan())
    lab.tell(ANNA)
    assert confirms(lab) == []
    assert "r1 is watched, not held" in why_not_acceptable(lab.rollout.state.devices["r1"])
    # It does not count later either.
    lab.tell(e.VerdictReached("r1", "inconclusive", "too few samples", _UNDECIDED, 10.0))
    assert confirms(lab) == []


def test_nobody_accepts_what_failed() -> None:
    lab = held()
    lab.tell(e.VerdictReached("r1", "failed", "it is worse", _UNDECIDED, 20.0))
    lab.tell(ANNA)
    assert confirms(lab) == []
    assert lab.states()["r1"] == "rolled-back"


def test_a_failure_comes_before_an_acceptance() -> None:
    """Accepted while the fresh read is refused: what is found meanwhile decides."""
    lab = held()
    refused = [e.ConfirmRefused("r1", "another boot")]
    lab.script[("r1", ConfirmImage)] = list(refused)
    lab.tell(ANNA)
    assert confirms(lab) == ["r1"]
    for t_s in range(10, 200, 10):
        lab.now_s = float(t_s)
        if lab.rollout.at_rest:
            break
        lab.tell(e.ReadingTaken("r1", Heartbeat(float(t_s), "bb" * 32, 9, 1000)))
    assert lab.states()["r1"] != "confirmed"
    assert confirms(lab) == ["r1"]


def test_a_confirm_that_stays_refused_ends_the_hold() -> None:
    lab = held()
    lab.script[("r1", ConfirmImage)] = [e.ConfirmRefused("r1", "no answer") for _ in range(2)]
    lab.tell(ANNA)
    for t_s in (10.0, 20.0):
        lab.tell(e.ReadingTaken("r1", Heartbeat(t_s, NEW, 7, int(t_s * 1000))))
    assert confirms(lab) == ["r1", "r1"]
    (expired,) = [s for s in lab.steps if isinstance(s, e.HoldExpired)]
    assert "the confirm was refused" in expired.why
    assert lab.states()["r1"] == "rolled-back"


def test_what_was_accepted_is_the_device_as_it_was_held() -> None:
    lab = held()
    progress = lab.rollout.state.devices["r1"]
    progress.accepted = "anna@lab"
    progress.move(DeviceState.WATCHED)
    assert progress.accepted == ""


def test_an_accepted_device_is_watched_on_and_taken_back_when_it_fails() -> None:
    lab = held(a_plan(approve=True))
    lab.tell(ANNA)
    assert "r1" in lab.rollout.watched()
    lab.beats(300, silent=("r1",))
    assert lab.states()["r1"] == "rolled-back"


@pytest.mark.parametrize("pause", ["before", "after"])
def test_an_acceptance_outlives_a_pause(pause: str) -> None:
    lab = held()
    if pause == "before":
        lab.tell(e.PauseRequested("anna@lab"))
        assert lab.rollout.state.paused == "operator"
        lab.tell(ANNA)
        assert confirms(lab) == []
    else:
        lab.rollout.state.devices["r1"].awaits_beat = True
        lab.tell(ANNA)
        lab.tell(e.PauseRequested("anna@lab"))
    folded = Rollout(lab.rollout.state.plan)
    for step in lab.steps:
        folded.state.apply(step)
    folded.state.restart()
    lab.rollout = folded
    lab.tell(e.RolloutResumed("", "anna@lab"))
    assert confirms(lab) == ["r1"]
    assert lab.states()["r1"] == "confirmed"
