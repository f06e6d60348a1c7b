"""The pure rollout against a perfect lab that answers commands at once."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cryofw.fleet import Reach, Window
from cryofw.health import Heartbeat, MetricContract, MetricSample, Worse
from cryofw.rollout import (
    CheckDevice,
    Command,
    DeviceState,
    Ending,
    Event,
    Plan,
    RollBackDevice,
    Rollout,
    Step,
    TestImage,
    UploadImage,
)
from cryofw.rollout import events as e
from cryofw.rollout.record import EVENTS
from tests.unit.rollout.perfect_lab import EVIDENCE, NEW, OLD, Lab, a_plan, started


def test_good_release_reaches_every_device() -> None:
    lab = started(a_plan())
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert set(lab.states().values()) == {"confirmed"}
    gates = [s.stage for s in lab.steps if isinstance(s, e.GatePassed)]
    assert gates == ["rig", "canary", "fleet"]


def test_waves_follow_one_another() -> None:
    lab = started(a_plan())
    lab.beats(1000)
    order = [s.device for s in lab.steps if isinstance(s, UploadImage)]
    assert order == ["r1", "a1", "a2", "b1", "b2", "b3"]
    confirmed = next(
        i for i, s in enumerate(lab.steps) if isinstance(s, e.ImageConfirmed) and s.device == "b1"
    )
    second = next(
        i for i, s in enumerate(lab.steps) if isinstance(s, UploadImage) and s.device == "b2"
    )
    assert confirmed < second


def test_silence_in_the_canary_takes_the_stage_back() -> None:
    lab = started(a_plan())
    lab.beats(150, silent=("a1",))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert lab.states() == {
        "r1": "confirmed",
        "a1": "rolled-back",
        "a2": "rolled-back",
        "b1": "pending",
        "b2": "pending",
        "b3": "pending",
    }


@pytest.mark.parametrize(
    ("reach", "taken_back"),
    [
        (Reach.DEVICE, {"b2"}),
        (Reach.CRYOSTAT, {"b1", "b2", "b3"}),
        (Reach.STAGE, {"b1", "b2", "b3"}),
        (Reach.ROLLOUT, {"r1", "a1", "a2", "b1", "b2", "b3"}),
    ],
)
def test_failure_reaches_as_far_as_the_plan_says(reach: Reach, taken_back: set[str]) -> None:
    lab = started(a_plan(reach))
    lab.beats(1000, silent=("b2",))
    back = {n for n, s in lab.states().items() if s == "rolled-back"}
    assert back == taken_back
    assert lab.rollout.state.ended is Ending.ROLLED_BACK


def test_confirmed_device_of_an_earlier_stage_still_counts() -> None:
    lab = started(a_plan())
    while "b1" not in {s.device for s in lab.steps if isinstance(s, e.ImageConfirmed)}:
        lab.beats(10)
    lab.beats(60, silent=("a1",))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    states = lab.states()
    assert {n for n, s in states.items() if s == "rolled-back"} >= {"a1", "a2", "b1"}
    assert states["r1"] == "confirmed"


def test_a_device_stuck_after_the_test_request_is_a_failure_and_quarantined() -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan), {("a1", TestImage): [e.DeviceStuck("a1", "silent", "power-cycle")]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(300)
    assert lab.states()["a1"] == "stuck"
    assert lab.states()["a2"] == "rolled-back"
    assert lab.rollout.state.ended is Ending.STUCK
    assert [s.device for s in lab.steps if isinstance(s, e.DeviceQuarantined)] == ["a1"]


def test_self_revert_after_the_test_request_is_a_failure() -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan), {("r1", TestImage): [e.DeviceReverted("r1", OLD, "did not boot")]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert lab.states()["r1"] == "self-reverted"


def test_a_revert_that_the_host_caused_is_tried_again() -> None:
    plan = a_plan()
    script: dict[tuple[str, type[Command]], list[Event]] = {
        ("r1", TestImage): [e.DeviceReverted("r1", OLD, "our reset", host_fault=True)]
    }
    lab = Lab(Rollout(plan), script)
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert lab.rollout.state.devices["r1"].attempt == 2


def test_attempts_are_bounded() -> None:
    plan = a_plan()
    reverts: list[Event] = [
        e.DeviceReverted("r1", OLD, "our reset", host_fault=True) for _ in range(9)
    ]
    lab = Lab(Rollout(plan), {("r1", TestImage): reverts})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert lab.rollout.state.devices["r1"].failure
    assert len(reverts) == 6


def test_a_device_unreachable_before_anything_was_sent_is_skipped() -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan), {("a1", CheckDevice): [e.DeviceUnreachable("a1", "no port")]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert lab.states()["a1"] == "unreachable"


def test_too_few_reachable_devices_fail_the_gate_before_anything_is_sent() -> None:
    plan = a_plan()
    script: dict[tuple[str, type[Command]], list[Event]] = {
        (n, CheckDevice): [e.DeviceUnreachable(n, "no port")] for n in ("b1", "b2")
    }
    lab = Lab(Rollout(plan), script)
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(1000)
    assert lab.rollout.state.gate_failed == "fleet"
    assert not [s for s in lab.steps if isinstance(s, UploadImage) and s.device[0] == "b"]


def test_a_refused_device_stops_the_stage_before_anything_is_sent() -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan), {("r1", CheckDevice): [e.DeviceRefused("r1", "is rig-b")]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    assert lab.rollout.state.ended is Ending.REFUSED
    assert not [s for s in lab.steps if isinstance(s, UploadImage)]


def test_lost_in_mid_upload_pauses_until_a_person_clears_it() -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan), {("a1", UploadImage): [e.DeviceUnreachable("a1", "cable", sent=True)]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(1000)
    assert lab.rollout.state.paused == "device"
    assert lab.states()["a2"] == "confirmed"
    lab.tell(e.QuarantineCleared("a1", "anna"))
    lab.tell(e.RolloutResumed())
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert lab.states()["a1"] == "confirmed"


def test_the_next_stage_waits_for_its_approval() -> None:
    lab = started(a_plan(approve=True))
    lab.beats(1000)
    assert lab.rollout.state.paused == "approval"
    assert not [s for s in lab.steps if isinstance(s, CheckDevice) and s.device[0] == "b"]
    lab.tell(e.StageApproved("fleet", "bert"))
    lab.tell(e.RolloutResumed())
    lab.beats(1000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_until_stops_after_the_named_stage() -> None:
    lab = started(a_plan(), until="canary")
    lab.beats(1000)
    assert lab.rollout.state.paused == "stage"
    assert lab.states()["b1"] == "pending"


def test_heat_budget_is_never_exceeded() -> None:
    lab = started(a_plan(heat=1))
    lab.beats(3000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert set(lab.most_hot.values()) == {1}


def test_abort_reverts_what_is_not_confirmed() -> None:
    lab = started(a_plan())
    while not [s for s in lab.steps if isinstance(s, e.TestBooted) and s.device == "a1"]:
        lab.beats(10)
    lab.tell(e.AbortRequested("anna"))
    assert lab.rollout.state.ended is Ending.ABORTED
    assert lab.states()["r1"] == "confirmed"
    assert lab.states()["a1"] == "rolled-back"


def test_rollback_takes_confirmed_devices_back_also_after_the_end() -> None:
    lab = started(a_plan())
    lab.beats(1000)
    lab.tell(e.RollbackRequested("anna", "noise in the readout"))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert set(lab.states().values()) == {"rolled-back"}


def test_stop_sends_nothing_more() -> None:
    lab = started(a_plan())
    lab.beats(20)
    before = sum(isinstance(s, Command) for s in lab.steps)
    lab.tell(e.StopRequested("anna"))
    assert lab.rollout.state.ended is Ending.STOPPED
    assert sum(isinstance(s, Command) for s in lab.steps) == before


def test_every_event_has_a_handler() -> None:
    lab = started(a_plan())
    passing = {event.kind for event in e.Event.__subclasses__() if event.kind}
    for kind in passing | EVENTS.keys():
        assert hasattr(lab.rollout.state, "_on_" + kind.replace("-", "_")), kind


def test_a_device_never_moves_against_the_table() -> None:
    lab = started(a_plan())
    with pytest.raises(Exception, match="pending -> confirmed"):
        lab.rollout.state.apply(e.ImageConfirmed("b1", NEW))
    assert lab.rollout.state.devices["b1"].state is DeviceState.PENDING


def resumed(plan: Plan, steps: list[Step]) -> Lab:
    rollout = Rollout(plan)
    for step in steps:
        rollout.state.apply(step)
    rollout.state.restart()
    lab = Lab(rollout, now_s=10_000)
    if rollout.state.ended is None:
        lab.tell(e.RolloutResumed())
    return lab


@pytest.mark.parametrize("silent", [(), ("a1",), ("b2",)])
def test_killed_after_any_record_it_resumes_to_the_same_end(silent: tuple[str, ...]) -> None:
    plan = a_plan()
    whole = started(plan)
    whole.beats(2000, silent)
    assert len(whole.steps) > 30
    for cut in range(1, len(whole.steps) + 1):
        lab = resumed(plan, whole.steps[:cut])
        lab.beats(2000, silent)
        assert lab.rollout.state.ended is whole.rollout.state.ended, cut
        assert lab.states() == whole.states(), cut


def test_pause_finishes_what_is_in_flight_and_starts_nothing() -> None:
    plan = a_plan()
    rollout = Rollout(plan)
    steps = rollout.receive(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    assert [type(s) for s in steps] == [e.StageStarted, CheckDevice]
    assert rollout.receive(e.PauseRequested("anna")) == []
    steps = rollout.receive(e.DeviceChecked("r1", OLD, "1.0.0"))
    assert [type(s) for s in steps] == [e.RolloutPaused]
    assert rollout.at_rest
    steps = rollout.receive(e.RolloutResumed())
    assert [type(s) for s in steps] == [e.WaveStarted, e.BaselineTaken, UploadImage]


def test_a_device_that_gives_no_baseline_is_refused() -> None:
    plan = a_plan()
    metric = MetricContract("snr", "dB", Worse.LOWER, 0.5, 1.5)
    evidence = replace(EVIDENCE, baseline_samples=5, metrics=(metric,))
    devices = {n: replace(p, evidence=evidence) for n, p in plan.devices.items()}
    rollout = Rollout(replace(plan, devices=devices))
    rollout.receive(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    rollout.receive(e.DeviceChecked("r1", OLD, "1.0.0"))
    t_s = 0.0
    while not rollout.at_rest and t_s < 10_000:
        t_s += 30
        rollout.receive(e.ReadingTaken("r1", MetricSample(t_s, {"snr": math.nan})))
    assert rollout.state.devices["r1"].state is DeviceState.REFUSED
    assert rollout.state.ended is Ending.REFUSED


def test_nothing_is_flashed_outside_the_window() -> None:
    plan = a_plan()
    stages = (replace(plan.stages[0], window=Window("0 20 * * *", 3600, "UTC")), *plan.stages[1:])
    rollout = Rollout(replace(plan, stages=stages))
    rollout.receive(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    assert rollout.receive(e.DeviceChecked("r1", OLD, "1.0.0")) == []
    steps = rollout.receive(e.ClockTicked(12 * 3600))
    assert [type(s) for s in steps] == [e.RolloutPaused]
    assert rollout.state.paused == "window"
    assert "opens Thu 1970-01-01 20:00 UTC" in rollout.state.paused_why
    assert [type(s) for s in rollout.receive(e.RolloutResumed())] == [e.RolloutPaused]
    rollout.state.now_s = None
    assert rollout.receive(e.RolloutResumed()) == []
    steps = rollout.receive(e.ClockTicked(20.5 * 3600))
    assert [type(s) for s in steps] == [e.WaveStarted, e.BaselineTaken, UploadImage]


def test_an_earlier_stage_named_as_the_limit_does_not_open_the_rest() -> None:
    lab = started(a_plan(), until="canary")
    lab.beats(1000)
    lab.tell(e.RolloutResumed(until="rig"))
    assert lab.rollout.state.paused == "stage"
    assert lab.states()["b1"] == "pending"


def test_a_resume_keeps_the_limit_that_was_not_reached() -> None:
    plan = a_plan()
    whole = started(plan, until="canary")
    whole.beats(100)
    lab = resumed(plan, whole.steps)
    lab.beats(2000)
    assert lab.rollout.state.paused == "stage"
    assert lab.states()["b1"] == "pending"


@pytest.mark.parametrize("reach", [Reach.DEVICE, Reach.CRYOSTAT])
def test_a_late_failure_of_an_earlier_stage_is_never_called_confirmed(reach: Reach) -> None:
    plan = a_plan()
    stages = tuple(replace(s, on_failure=reach) for s in plan.stages)
    lab = started(replace(plan, stages=stages))
    while not [s for s in lab.steps if isinstance(s, e.TestBooted) and s.device == "b2"]:
        lab.beats(10)
    lab.beats(2000, silent=("a1",))
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    assert lab.states()["a1"] == "rolled-back"


def test_a_device_that_is_not_good_holds_the_next_wave() -> None:
    plan = a_plan()
    script: dict[tuple[str, type[Command]], list[Event]] = {
        ("b1", UploadImage): [e.DeviceRefused("b1", "leased to another")]
    }
    lab = Lab(Rollout(plan), script)
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(2000)
    assert lab.rollout.state.gate_failed == "fleet"
    assert not [s for s in lab.steps if isinstance(s, UploadImage) and s.device in ("b2", "b3")]


def test_a_stuck_device_that_was_cleared_is_taken_back_by_a_rollback() -> None:
    plan = a_plan()
    lab = Lab(Rollout(plan), {("a1", TestImage): [e.DeviceStuck("a1", "silent")]})
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    lab.beats(300)
    assert lab.rollout.state.ended is Ending.STUCK
    lab.tell(e.QuarantineCleared("a1", "anna"))
    lab.tell(e.RollbackRequested("anna"))
    assert [s.device for s in lab.steps if isinstance(s, RollBackDevice)].count("a1") == 1
    assert lab.states()["a1"] == "rolled-back"
    assert lab.rollout.state.why == "rolled back by anna"


def test_a_test_request_of_a_dead_run_is_not_repeated_when_it_is_aborted() -> None:
    plan = a_plan()
    whole = started(plan)
    whole.beats(20)
    cut = next(
        i for i, s in enumerate(whole.steps) if isinstance(s, TestImage) and s.device == "r1"
    )
    rollout = Rollout(plan)
    for step in whole.steps[: cut + 1]:
        rollout.state.apply(step)
    rollout.state.restart()
    steps = rollout.receive(e.AbortRequested("anna"))
    assert [type(s) for s in steps] == [RollBackDevice]


def test_a_stop_names_who_is_left_in_a_test_boot() -> None:
    lab = started(a_plan())
    lab.beats(20)
    lab.tell(e.StopRequested("anna"))
    assert [s.device for s in lab.steps if isinstance(s, e.DeviceQuarantined)] == ["r1"]
    lab.rollout.state.apply(e.QuarantineCleared("r1", "anna"))
    assert not lab.rollout.state.devices["r1"].quarantined


def test_a_power_cycled_sibling_is_not_blamed_for_its_new_boot() -> None:
    lab = started(a_plan())
    while lab.states()["a1"] != "confirmed":
        lab.beats(10)
    rollout = lab.rollout
    rollout.receive(e.PowerCycleRequested("a2", ("a1",)))
    assert "a1" not in rollout.watched()
    rollout.receive(e.ReadingTaken("a1", Heartbeat(lab.now_s + 1, NEW, 7, 10**6)))
    rollout.receive(e.PowerCycled("a2", ("a1",)))
    rollout.receive(e.ReadingTaken("a1", Heartbeat(lab.now_s + 20, NEW, 8, 100)))
    assert rollout.state.devices["a1"].failure == ""
    assert "a1" in rollout.watched()


def test_a_hold_begins_again_after_a_time_without_watching() -> None:
    plan = a_plan()
    metric = MetricContract("snr", "dB", Worse.LOWER, 0.5, 5.0)
    evidence = replace(EVIDENCE, soak_s=900, min_samples=20, baseline_samples=40, metrics=(metric,))
    devices = {n: replace(p, evidence=evidence) for n, p in plan.devices.items()}
    lab = Lab(Rollout(replace(plan, devices=devices)))
    lab.tell(e.RolloutStarted(plan.digest, NEW, "1.1.0"))
    for slot in range(44):
        for name in sorted(lab.rollout.watched()):
            snr = 25.0 + (slot * 7 % 5 + len(name)) / 10
            t_s = slot * evidence.sample_every_s
            lab.tell(e.ReadingTaken(name, MetricSample(t_s, {"snr": snr})))
    lab.beats(1000)
    assert lab.states()["r1"] == "held"
    lab.rollout.state.restart()
    lab.tell(e.ReadingTaken("r1", Heartbeat(50_000, NEW, 7, 50_000_000)))
    assert lab.states()["r1"] == "held"
    lab.tell(e.ReadingTaken("r1", Heartbeat(50_130, NEW, 7, 50_130_000)))
    assert lab.states()["r1"] == "rolled-back"
