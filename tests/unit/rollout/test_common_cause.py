"""Silence that updated devices share with their controls is no verdict on the firmware."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.fleet import Reach
from cryofw.rollout import Ending, Rollout, Step
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from tests.unit.rollout.measured_lab import EVIDENCE, MeasuredLab, measured, measured_plan

if TYPE_CHECKING:
    from cryofw.rollout import Plan

WAVES = measured_plan(fleet=(("a1",), ("a2", "a3", "a4")))
CRYOSTAT = {"a1", "a2", "a3", "a4"}
PATIENT = replace(EVIDENCE, deadline_s=5000)


def on_trial(plan: Plan = WAVES, device: str = "a1") -> MeasuredLab:
    lab = measured(plan)
    lab.until(e.TestBooted, device)
    lab.run(200)
    return lab


def the_last(lab: MeasuredLab, kind: type[Step], device: str = "") -> Any:
    return lab.of(kind, device)[-1]


def outcomes(lab: MeasuredLab, device: str) -> list[str]:
    return [s.outcome for s in lab.of(e.VerdictReached, device) if isinstance(s, e.VerdictReached)]


def test_a_hub_that_dies_holds_and_takes_nobody_back() -> None:
    lab = on_trial()
    lab.silent = set(CRYOSTAT)
    lab.run(250)

    assert lab.states()["a1"] == "held"
    found = the_last(lab, e.CommonCauseFound)
    assert found.why == (
        "silent together with a2, a3, a4, which run their old firmware: a common cause, such as "
        "a hub, a cable or the host, and no verdict on the firmware"
    )
    assert found.evidence["missed_in_a_row"].keys() == CRYOSTAT
    assert not lab.of(e.VerdictReached)
    assert not lab.of(e.FailureSpread)
    assert lab.rollout.state.devices["a1"].failure == ""


def test_heard_again_it_is_watched_and_its_misses_count_for_nothing() -> None:
    lab = on_trial()
    lab.silent = set(CRYOSTAT)
    lab.run(250)
    lab.silent.clear()
    lab.run(10)

    assert lab.states()["a1"] == "watched"
    assert the_last(lab, e.CommonCauseEnded).why == "it answers again"
    lab.run(10_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    beats = the_last(lab, e.VerdictReached, "a1").evidence["heartbeats"]
    assert beats["missed"] == beats["excused"] == 25, "shown, not counted"
    assert beats["e"] < 1
    assert outcomes(lab, "a1") == ["passed"]


def test_a_hub_that_dies_twice_is_excused_twice() -> None:
    lab = on_trial()
    for _ in range(2):
        lab.silent = set(CRYOSTAT)
        lab.run(100)
        lab.silent.clear()
        lab.run(50)
    assert len(lab.of(e.CommonCauseEnded)) == 2
    lab.run(10_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_hold_by_a_common_cause_ends_at_the_deadline() -> None:
    lab = on_trial()
    lab.silent = set(CRYOSTAT)
    lab.run(EVIDENCE.deadline_s + 100)
    assert the_last(lab, e.HoldExpired).why.startswith("held for 300 s: silent together with")
    assert lab.states()["a1"] == "rolled-back"


def test_its_own_silence_leads_to_rollback_without_waiting() -> None:
    lab = on_trial()
    lab.silent = {"a1"}
    lab.run(60)
    assert lab.states()["a1"] == "rolled-back"
    verdict = the_last(lab, e.VerdictReached)
    assert verdict.outcome == "failed"
    assert verdict.evidence["symptom"] == "silent"
    assert "heartbeats missed" in verdict.why
    assert not lab.of(e.CommonCauseFound)


def test_its_own_silence_goes_before_its_baseline_is_judged() -> None:
    lab = measured(WAVES)
    lab.until(e.TestBooted, "a1")
    lab.silent = {"a1"}
    lab.run(60)
    assert outcomes(lab, "a1") == ["failed"]


def test_controls_that_come_back_without_it_leave_it_to_itself() -> None:
    lab = on_trial()
    lab.silent = set(CRYOSTAT)
    lab.run(100)
    lab.silent = {"a1"}
    lab.run(100)
    why = the_last(lab, e.CommonCauseEnded).why
    assert why == "its controls answer again (a2, a3, a4); its own silence counts from here"
    assert outcomes(lab, "a1") == ["failed"]
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    beats = the_last(lab, e.VerdictReached).evidence["heartbeats"]
    assert 0 < beats["excused"] < beats["missed"]


@pytest.mark.parametrize(("mute", "shared"), [(1, False), (2, True), (3, True)])
def test_half_of_the_controls_make_a_common_cause(mute: int, shared: bool) -> None:
    lab = on_trial()
    lab.silent = {"a1", *("a2", "a3", "a4")[:mute]}
    lab.run(100)
    assert bool(lab.of(e.CommonCauseFound)) is shared
    assert (lab.states()["a1"] == "held") is shared
    assert (outcomes(lab, "a1") == ["failed"]) is not shared


def test_controls_that_were_mute_before_are_no_excuse() -> None:
    """Two of three died on their own; then the firmware hangs, and the third answers."""
    lab = on_trial()
    lab.silent = {"a2", "a3"}
    lab.run(100)
    lab.silent |= {"a1"}
    lab.run(60)
    assert not lab.of(e.CommonCauseFound)
    assert outcomes(lab, "a1") == ["failed"]


def test_a_device_without_any_control_stands_alone() -> None:
    lab = on_trial(measured_plan(rig=(("r1",),)), "r1")
    lab.silent = {"r1"}
    lab.run(60)
    assert outcomes(lab, "r1") == ["failed"]
    assert lab.rollout.state.ended is Ending.ROLLED_BACK


# --- confirmed devices ----------------------------------------------------------------------


def shared_at_the_end() -> MeasuredLab:
    """a1 was confirmed, and is silent with the last of the fleet right before that is updated."""
    bare = replace(PATIENT, metrics=())
    plan = measured_plan(evidence=bare, canary=(("a1",),), fleet=(("a2", "a3"), ("a4", "a5")))
    lab = measured(plan)
    lab.until(e.TestBooted, "a2")
    lab.run(550)
    lab.silent = {"a1", "a4", "a5"}
    lab.until(e.CommonCauseFound, "a1")
    lab.until(e.TestBooted, "a4")
    lab.silent = {"a1"}
    lab.run(1000)
    assert set(lab.states().values()) == {"confirmed"}
    return lab


def test_a_rollout_does_not_end_before_a_confirmed_device_is_heard() -> None:
    lab = shared_at_the_end()
    assert lab.rollout.state.ended is None
    assert lab.rollout.watched() >= {"a1"}
    lab.silent.clear()
    lab.run(20)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_confirmed_device_that_is_not_heard_in_time_fails() -> None:
    lab = shared_at_the_end()
    lab.run(PATIENT.deadline_s)
    assert outcomes(lab, "a1") == ["passed", "failed"]
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert set(lab.states().values()) == {"rolled-back"}, "the fleet was built on the canary"


def test_the_deadline_of_a_confirmed_device_begins_again_after_a_resume() -> None:
    lab = shared_at_the_end()
    lab.run(3000)
    lab.rollout.state.restart()
    lab.now_s += 100_000
    lab.run(4900)
    assert outcomes(lab, "a1") == ["passed"]
    lab.run(200)
    assert outcomes(lab, "a1") == ["passed", "failed"]


def test_confirmed_devices_have_peers_while_nobody_is_on_trial() -> None:
    """The fleet takes its baselines when the hub of the confirmed canary dies."""
    lab = measured(measured_plan(canary=(("a1",),), fleet=(("a2",), ("a3", "a4"))))
    lab.until(e.WaveStarted)
    lab.until(e.ImageConfirmed, "a1")
    lab.run(50)
    assert not lab.of(e.TestBooted, "a2")
    lab.silent = set(CRYOSTAT)
    lab.run(250)
    assert lab.of(e.CommonCauseFound, "a1")
    lab.silent.clear()
    lab.run(20_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_peers_of_an_earlier_cryostat_are_still_asked() -> None:
    """Heartbeats alone: the wave has gone on to another cryostat, where the hub is another one."""
    bare = replace(EVIDENCE, metrics=())
    plan = measured_plan(evidence=bare, fleet=(("a1",), ("b1",), ("b2",), ("a2",)))
    lab = measured(plan)
    lab.until(e.TestBooted, "b1")
    lab.silent = {"a1", "a2"}
    lab.run(200)
    assert lab.of(e.CommonCauseFound, "a1")
    lab.silent.clear()
    lab.run(20_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_neighbour_that_goes_down_with_its_cryostat_is_still_a_control() -> None:
    """b3 is spared because b1 failed; what is judged beside it in a is not its business."""
    plan = measured_plan(reach=Reach.CRYOSTAT, fleet=(("a1", "b1"), ("b2", "b3")))
    lab = measured(plan)
    lab.until(e.TestBooted, "b1")
    lab.silent = {"b1"}
    lab.run(650)
    assert lab.states()["b1"] == "rolled-back"
    assert lab.states()["b3"] == "checked"
    assert outcomes(lab, "a1") == ["passed"], "against b2 and b3"
    assert the_last(lab, e.VerdictReached, "a1").evidence["metrics"]["snr"]["n_after"] >= 50


# --- frozen cryostats -----------------------------------------------------------------------


def frozen() -> MeasuredLab:
    lab = on_trial(measured_plan(guarded=True, fleet=(("a1",), ("a2", "a3", "a4"))))
    lab.kelvin = {"cryo-a": 4.3}
    lab.run(50)
    assert lab.states()["a1"] == "frozen"
    return lab


def test_a_hub_that_dies_in_a_freeze_and_comes_back_is_forgotten() -> None:
    lab = frozen()
    lab.silent = set(CRYOSTAT)
    lab.run(300)
    assert lab.states()["a1"] == "frozen"
    assert lab.of(e.CommonCauseFound, "a1")
    lab.silent.clear()
    lab.run(50)
    assert lab.of(e.CommonCauseEnded, "a1")
    lab.kelvin.clear()
    lab.run(20_000)
    assert outcomes(lab, "a1") == ["passed"]
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_hub_that_dies_in_a_freeze_and_stays_dead_holds_from_the_thaw() -> None:
    lab = frozen()
    lab.silent = set(CRYOSTAT)
    lab.run(2 * EVIDENCE.deadline_s)
    assert not lab.of(e.VerdictReached), "no deadline runs while it is frozen"
    lab.kelvin.clear()
    lab.until(ce.CryostatThawed)
    lab.run(EVIDENCE.deadline_s - 50)
    assert lab.states()["a1"] == "held"
    lab.silent.clear()
    lab.run(20_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_its_own_silence_in_a_freeze_is_judged_and_taken_back_after_the_thaw() -> None:
    lab = frozen()
    lab.silent = {"a1"}
    lab.run(100)
    assert outcomes(lab, "a1") == ["failed"]
    assert lab.states()["a1"] == "frozen", "a reset is heat too"
    lab.kelvin.clear()
    lab.run(300)
    assert lab.states()["a1"] == "rolled-back"


def test_silence_is_told_apart_the_same_way_after_a_resume() -> None:
    """Every step and reading folded into a new rollout leaves the same hold."""
    lab = on_trial()
    lab.silent = set(CRYOSTAT)
    lab.run(100)
    again = Rollout(WAVES)
    for step in lab.tape:
        again.state.apply(step)
    again.state.restart()
    device = again.state.devices["a1"]
    assert device.common_cause == lab.rollout.state.devices["a1"].common_cause
    taken_over = MeasuredLab(again, now_s=lab.now_s + 3600, silent=set(CRYOSTAT))
    taken_over.tell(e.RolloutResumed())
    taken_over.run(EVIDENCE.deadline_s - 20)
    assert taken_over.states()["a1"] == "held"
    taken_over.silent.clear()
    taken_over.run(20_000)
    assert taken_over.rollout.state.ended is Ending.CONFIRMED
