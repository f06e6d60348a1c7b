"""Who is judged with whom and against whom, and what follows: a rollout in a measured lab."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cryofw.fleet import Reach
from cryofw.health import Heartbeat, StreamKind
from cryofw.rollout import CheckDevice, Ending, Rollout, Step, TestImage, UploadImage
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout import events as e
from cryofw.rollout.operator_events import DeviceAccepted
from cryofw.rollout.progress import RESET_USER
from tests.unit.rollout.measured_lab import (
    EVIDENCE,
    SNR,
    MeasuredLab,
    Waves,
    measured,
    measured_plan,
)
from tests.unit.rollout.perfect_lab import NEW, OLD

if TYPE_CHECKING:
    from cryofw.health import Cohort
    from cryofw.rollout import Command, Event, Plan

WAVES: Waves = (("a1",), ("a2", "a3", "a4"))
PLAN = measured_plan(fleet=WAVES)
GUARDED = measured_plan(guarded=True, fleet=WAVES)
POOLED_SEED = 3
LONG = replace(EVIDENCE, baseline_samples=100)
NINE = measured_plan(
    evidence=LONG, fleet=(("a1", "a2", "a3"), ("a4", "a5", "a6"), ("a7", "a8", "a9"))
)


def through(plan: Plan, **lab_is: Any) -> MeasuredLab:
    """Run to the end, in a lab that is so from the beginning."""
    lab = measured(plan)
    for name, value in lab_is.items():
        setattr(lab, name, value)
    lab.run(40_000)
    return lab


def on_trial(plan: Plan = PLAN, device: str = "a1", seconds: float = 200) -> MeasuredLab:
    lab = measured(plan)
    lab.until(e.TestBooted, device)
    lab.run(seconds)
    return lab


def the_last(lab: MeasuredLab, kind: type[Step], device: str = "") -> Any:
    return lab.of(kind, device)[-1]


def outcomes(lab: MeasuredLab, device: str) -> list[str]:
    return [s.outcome for s in lab.of(e.VerdictReached, device) if isinstance(s, e.VerdictReached)]


def cohort_of(lab: MeasuredLab, device: str) -> Cohort:
    cohort = lab.rollout.state.cohorts.of(device)
    assert cohort is not None
    return cohort


def controls(lab: MeasuredLab) -> dict[str, tuple[str, ...]]:
    return {
        name: step.controls
        for step in lab.of(e.CohortFrozen)
        if isinstance(step, e.CohortFrozen)
        for name in step.devices
    }


# --- against whom ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waves", "expected"),
    [
        # Of the same cryostat, the last to be updated first; then those that were updated.
        (
            (("a1",), ("a2",), ("a3", "a4")),
            {"a1": ("a3", "a4", "a2"), "a2": ("a3", "a4"), "a3": ("a1", "a2"), "a4": ("a1", "a2")},
        ),
        # One of the same cryostat is enough, whoever is left elsewhere.
        (
            (("a1",), ("a2",), ("b1",), ("b2", "b3")),
            {"a1": ("a2",), "a2": ("a1",), "b1": ("b2", "b3"), "b2": ("b1",), "b3": ("b1",)},
        ),
        # Where a cryostat has none: one of each other one in turn, three in all.
        (
            (("a1",), ("b1", "b2"), ("c1",), ("d1",), ("e1",)),
            {
                "a1": ("e1", "d1", "c1"),
                "b1": ("e1", "d1", "c1"),
                "b2": ("e1", "d1", "c1"),
                "c1": ("e1", "d1"),
                "d1": ("e1",),
                "e1": ("a1", "b1", "c1"),
            },
        ),
        ((("a1",),), {"a1": ()}),
        # Those of one wave are no controls of each other, in two cryostats neither.
        ((("a1", "b1"),), {"a1": (), "b1": ()}),
    ],
)
def test_the_controls_of_a_wave(waves: Waves, expected: dict[str, tuple[str, ...]]) -> None:
    lab = through(measured_plan(fleet=waves), seed=2)
    assert controls(lab) == expected
    assert lab.rollout.state.ended is Ending.CONFIRMED


@pytest.mark.parametrize(("is_control", "expected"), [(False, ("a2",)), (True, ("a1", "a2"))])
def test_whom_a_person_accepted_is_a_control_if_they_say_so(
    is_control: bool, expected: tuple[str, ...]
) -> None:
    """Its evidence decided nothing: compared with it, the others would be as odd as it is."""
    lab = measured(measured_plan(fleet=(("a1",), ("a2",), ("a3", "a4"))))
    lab.until(e.TestBooted, "a1")
    lab.run(30)
    lab.tell(e.VerdictReached("a1", "inconclusive", "too noisy", {}, lab.now_s))
    lab.tell(DeviceAccepted("a1", "carol", "seen on the analyser", control=is_control))
    lab.run(40_000)

    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert lab.rollout.state.devices["a1"].accepted == "carol"
    assert controls(lab)["a3"] == expected


def test_stages_behind_are_controls_of_those_before() -> None:
    lab = through(measured_plan(rig=(("r1",),), fleet=(("a1",), ("a2", "a3"))), seed=2)
    assert controls(lab)["r1"] == ("a2", "a3", "a1")


def test_eight_controls_are_enough() -> None:
    many = tuple(f"a{i}" for i in range(1, 13))
    lab = measured(measured_plan(fleet=(("x1",), many[:1], many[1:])))
    assert len(lab.rollout.state.cohorts.peers("a1")) == 8


def test_a_device_with_another_contract_is_no_control() -> None:
    other = replace(EVIDENCE, sample_every_s=20)
    devices = dict(PLAN.devices)
    devices["a4"] = replace(devices["a4"], evidence=other)
    lab = measured(replace(PLAN, devices=devices))
    assert lab.rollout.state.cohorts.peers("a1") == ("a2", "a3")


def test_what_was_sent_something_is_no_control_any_more() -> None:
    """The rig keeps its controls until they are updated in their turn."""
    lab = measured(measured_plan(rig=(("r1",),), fleet=(("a1",), ("a2", "a3"))))
    lab.until(e.TestBooted, "a1")
    stream = cohort_of(lab, "r1").streams("r1")["snr"]
    before = stream.count
    lab.run(300)
    assert stream.count >= before + 28, "two of three are left"
    lab.until(e.TestBooted, "a2")
    lab.run(40)
    before = stream.count
    lab.run(300)
    assert stream.count == before, "an updated device shows no weather to one before it"
    assert "r1" not in lab.rollout.state.cohorts.compared_with("a2")


# --- weather and faults ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_weather_of_each_cryostat_for_itself_takes_nobody_back(seed: int) -> None:
    waves: Waves = (("a1",), ("a2", "a3"), ("a4",), ("b1",), ("b2", "b3"))
    lab = through(
        measured_plan(evidence=LONG, fleet=waves),
        seed=seed,
        weather={
            "cryo-a": lambda t: 0.5 * math.sin(t / 1000 + seed),
            "cryo-b": lambda t: -0.0005 * t,
        },
    )
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert all(outcomes(lab, name) == ["passed"] for name in lab.states())


def test_a_bad_device_is_taken_back_with_controls_and_numbers() -> None:
    lab = through(PLAN, worse={"a1": 1.5})
    verdict = the_last(lab, e.VerdictReached)
    assert (verdict.device, verdict.outcome) == ("a1", "failed")
    assert "dB against a2, a3, a4 (30.9" in verdict.why
    assert "is beyond the margin 0.1 dB; a 1-unit bet against the firmware grew to" in verdict.why
    numbers = verdict.evidence["metrics"]["snr"]
    assert numbers["controls"] == ["a2", "a3", "a4"]
    assert numbers["e_peak"] >= numbers["e_needed"] > 100
    assert numbers["after"] - numbers["before"] == pytest.approx(-1.5, abs=0.25)
    assert numbers["n_after"] < 10
    assert lab.states() == {"a1": "rolled-back"} | dict.fromkeys(("a2", "a3", "a4"), "checked")


def test_a_shift_too_small_for_one_is_found_by_the_pool_of_several_waves() -> None:
    alone = through(NINE, worse={"a1": 0.14}, seed=POOLED_SEED)
    assert alone.rollout.state.ended is Ending.CONFIRMED, "nobody sees it on one device"

    lab = through(NINE, worse=dict.fromkeys(NINE.devices, 0.14), seed=POOLED_SEED)
    spread = the_last(lab, e.FailureSpread)
    assert "over 6 devices" in spread.why, "the last wave is compared with updated ones"
    assert lab.rollout.state.ended is Ending.ROLLED_BACK
    first, second, last = ({lab.states()[n] for n in wave} for wave in NINE.stages[0].waves)
    assert (first, second, last) == ({"rolled-back"}, {"rolled-back"}, {"checked"})
    pool = the_last(lab, e.VerdictReached).evidence["pools"]["snr"]
    assert pool["members"] == ["a1", "a2", "a3", "a4", "a5", "a6"]


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_what_one_device_has_alone_is_not_held_against_the_others(count: int) -> None:
    names = tuple(f"a{i}" for i in range(1, count + 1))
    spare = (("a97", "a98", "a99"),)
    plan = measured_plan(evidence=LONG, reach=Reach.DEVICE, fleet=(names,), spare=spare)
    lab = through(plan, worse={"a1": 1.5}, seed=2)
    assert outcomes(lab, "a1") == ["failed"]
    assert lab.states()["a1"] == "rolled-back"
    assert {lab.states()[name] for name in names[1:]} == {"confirmed"}


def test_a_healthy_stage_has_a_pool_that_found_nothing() -> None:
    lab = through(NINE, seed=2)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    pool = cohort_of(lab, "a1").pools["snr"]
    assert pool.count >= LONG.planned_samples - 5
    assert pool.finding().evidence["shift"] == pytest.approx(0, abs=0.05)


def test_a_noisy_metric_refuses_before_anything_is_sent() -> None:
    lab = through(PLAN, noise=1.5)
    refused = the_last(lab, e.DeviceRefused)
    assert "its evidence would decide nothing: snr: the smallest shift found" in refused.why
    assert "but reject is 1" in refused.why
    assert "cryofw gate tune" in refused.hint
    assert lab.rollout.state.ended is Ending.REFUSED
    assert not lab.of(UploadImage)


# --- members that do not take part ----------------------------------------------------------


def test_a_device_that_gives_no_values_leaves_after_its_patience_and_blocks_nobody() -> None:
    lab = through(PLAN, blind={"a3"}, seed=2)
    refused = the_last(lab, e.DeviceRefused)
    assert refused.device == "a3"
    assert refused.why == "no baseline: 180 samples asked, 60 fresh needed together with a1: snr 0"
    assert outcomes(lab, "a2") == outcomes(lab, "a4") == ["passed"]
    assert not lab.of(UploadImage, "a3")
    assert lab.rollout.state.gate_failed == "fleet"


@pytest.mark.parametrize(
    "answer",
    [e.DeviceUnreachable("a3", "no port"), e.DeviceSkipped("a3", NEW)],
    ids=["unreachable", "skipped"],
)
def test_a_member_that_takes_no_part_blocks_nobody(answer: Event) -> None:
    script: dict[tuple[str, type[Command]], list[Event]] = {("a3", CheckDevice): [answer]}
    lab = MeasuredLab(Rollout(PLAN), script=script, seed=2)
    lab.tell(e.RolloutStarted(PLAN.digest, NEW, "1.1.0"))
    lab.run(40_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert outcomes(lab, "a2") == outcomes(lab, "a4") == ["passed"]


def test_patchy_metrics_take_longer_and_pass() -> None:
    whole, patchy = through(PLAN, seed=2), through(PLAN, seed=2, patchy=0.15)
    assert patchy.rollout.state.ended is Ending.CONFIRMED
    assert patchy.now_s > whole.now_s


# --- controls that are no good --------------------------------------------------------------


def test_one_of_three_controls_may_die() -> None:
    lab = on_trial()
    lab.blind = {"a3"}
    lab.run(500)
    assert outcomes(lab, "a1") == ["passed"]
    assert the_last(lab, e.VerdictReached).evidence["metrics"]["snr"]["n_after"] >= 55


def test_two_of_three_dead_controls_hold_and_the_deadline_takes_back() -> None:
    lab = on_trial(seconds=100)
    lab.blind = {"a3", "a4"}
    lab.run(550)
    assert lab.states()["a1"] == "held"
    verdict = the_last(lab, e.VerdictReached)
    assert verdict.outcome == "inconclusive"
    assert verdict.why.startswith("snr: only ")
    lab.run(EVIDENCE.deadline_s)
    assert lab.states()["a1"] == "rolled-back"
    assert the_last(lab, e.HoldExpired).why.startswith("held for 300 s: snr: only ")


def test_held_for_want_of_controls_it_goes_on_when_they_are_back() -> None:
    lab = on_trial(seconds=100)
    lab.blind = {"a3", "a4"}
    lab.run(600)
    assert lab.states()["a1"] == "held"
    lab.blind.clear()
    lab.run(250)
    assert outcomes(lab, "a1") == ["inconclusive", "passed"]


def test_a_control_group_that_left_its_own_baseline_decides_nothing() -> None:
    """a1 is fine, and looks bad because its controls became better by 2 dB."""
    lab = on_trial(seconds=50)
    lab.weather = dict.fromkeys(("a2", "a3", "a4"), lambda _t: 2.0)
    lab.run(20)
    assert not lab.of(e.FailureSpread), "the controls are known to have moved before a bet is won"
    lab.run(540)
    assert lab.states()["a1"] == "held"
    verdict = the_last(lab, e.VerdictReached)
    assert (
        verdict.why
        == "snr: the control group left its own baseline, so nothing can be compared with it"
    )
    assert verdict.evidence["metrics"]["snr"]["control_group"]["left"] == "the control group"
    lab.run(EVIDENCE.deadline_s)
    assert lab.states()["a1"] == "rolled-back"
    assert not lab.of(e.FailureSpread), "its hold expired; nobody says that the firmware is bad"


# --- attempts -------------------------------------------------------------------------------


def revert_by_lease(lab: MeasuredLab, device: str) -> None:
    """Its lease ran out while nobody watched: it runs the old firmware again."""
    lab.now_s += 10
    beat = Heartbeat(lab.now_s, OLD, 8, 100, RESET_USER)
    lab.tell(e.ReadingTaken(device, beat))


def test_a_retry_spends_a_later_part_and_refunds_nothing() -> None:
    lab = on_trial()
    state = lab.rollout.state
    cohort, device = cohort_of(lab, "a1"), state.devices["a1"]
    first = cohort.streams("a1")["snr"]
    first_bet = device.watch.heartbeats.bet
    revert_by_lease(lab, "a1")
    assert (device.attempt, device.trial) == (2, 2)
    assert lab.states()["a1"] == "watched", "against the baseline that it had"
    second = cohort.streams("a1")["snr"]
    assert second.rule.shift_threshold == pytest.approx(4 * first.rule.shift_threshold)
    assert second.rule.noise_threshold == pytest.approx(4 * first.rule.noise_threshold)
    assert device.watch.heartbeats.bet.threshold == pytest.approx(4 * first_bet.threshold)
    assert second.count == 0
    assert second.before == first.before
    lab.run(20_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED
    assert outcomes(lab, "a1") == ["passed"]


def test_a_bad_device_is_found_on_its_second_attempt_too() -> None:
    lab = on_trial()
    lab.worse = {"a1": 1.5}
    revert_by_lease(lab, "a1")
    lab.run(200)
    assert outcomes(lab, "a1") == ["failed"]


def test_all_attempts_together_stay_below_the_one_alpha() -> None:
    ledger = on_trial(seconds=0).rollout.state.cohorts.ledger
    assert ledger.total(50) <= ledger.false_rollback * (1 + 1e-12)
    assert ledger.streams == {"shift": 4, "noise": 4, "heartbeat": 4, "pooled": 1}
    assert ledger.spends(StreamKind.SHIFT, 2) == ledger.spends(StreamKind.SHIFT, 1) / 4


def test_a_cleared_device_takes_a_new_baseline_at_a_later_trial() -> None:
    plan = measured_plan(reach=Reach.DEVICE, fleet=(("a1", "a2"), ("a3", "a4")))
    lab = measured(plan)
    lab.script[("a1", TestImage)] = [e.DeviceStuck("a1", "silent", "power-cycle")]
    lab.until(e.DeviceQuarantined, "a1")
    lab.tell(e.QuarantineCleared("a1", "anna"))
    device = lab.rollout.state.devices["a1"]
    assert device.trial == 2, "its test boot is spent"
    assert lab.states()["a1"] == "checked"
    lab.until(e.TestBooted, "a1")
    frozen = [s for s in lab.of(e.CohortFrozen) if isinstance(s, e.CohortFrozen)]
    assert [(s.cohort, s.devices, s.controls) for s in frozen] == [
        ("fleet/1/cryo-a", ("a1", "a2"), ("a3", "a4")),
        ("fleet/a1/2", ("a1",), ("a3", "a4")),
    ]
    stream = cohort_of(lab, "a1").streams("a1")["snr"]
    spent = lab.rollout.state.cohorts.ledger.spends(StreamKind.SHIFT, 2)
    assert stream.rule.shift_threshold == 1 / spent
    lab.run(20_000)
    assert set(lab.states().values()) == {"confirmed"}


def test_a_device_cleared_before_any_test_boot_has_spent_nothing() -> None:
    lab = measured(PLAN)
    lab.script[("a1", UploadImage)] = [e.DeviceUnreachable("a1", "cable", sent=True)]
    lab.run(20_000)
    assert lab.rollout.state.paused == "device"
    lab.tell(e.QuarantineCleared("a1", "anna"))
    lab.tell(e.RolloutResumed())
    lab.run(20_000)
    assert lab.rollout.state.devices["a1"].trial == 1
    assert lab.rollout.state.ended is Ending.CONFIRMED


# --- cryostats ------------------------------------------------------------------------------


def test_a_freeze_begins_unfinished_baselines_anew_and_gives_them_time() -> None:
    """a2 and a3 were asked for 200 samples while a1 soaked; those of before the freeze are gone."""
    evidence = replace(EVIDENCE, soak_s=2000)
    plan = measured_plan(evidence=evidence, guarded=True, fleet=(("a1",), ("a2", "a3"), ("a4",)))
    lab = on_trial(plan, seconds=1900)
    assert lab.rollout.state.cohorts.asked("a2") > 180
    lab.kelvin = {"cryo-a": 4.3}
    lab.run(50)
    assert lab.states()["a1"] == "frozen"
    cohort = cohort_of(lab, "a2")
    assert cohort.baseline_count("a2", SNR.name) == 0
    assert lab.rollout.state.cohorts.asked("a2") == 0
    lab.kelvin.clear()
    lab.run(60_000)
    assert not lab.of(e.DeviceRefused)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_freeze_alone_leaves_fixed_baselines_as_they_are() -> None:
    lab = on_trial(GUARDED)
    lab.kelvin = {"cryo-a": 4.3}
    lab.run(100)
    lab.kelvin.clear()
    lab.run(20_000)
    assert outcomes(lab, "a1") == ["passed"]
    assert lab.rollout.state.ended is Ending.CONFIRMED


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the warm-up"])
def test_a_fridge_that_left_its_base_voids_what_was_fixed(late: bool) -> None:
    lab = on_trial(GUARDED)
    lab.kelvin = {"cryo-a": 4.3}
    if late:
        lab.run(50)
    lab.fridge = {"cryo-a": "warm-up"}
    lab.run(100)
    lab.kelvin.clear()
    lab.fridge.clear()
    lab.until(e.VerdictReached)
    assert lab.states()["a1"] == "held"
    verdict = the_last(lab, e.VerdictReached)
    assert verdict.outcome == "inconclusive"
    assert verdict.why.startswith("snr: cryo-a left its base (")
    assert verdict.why.endswith("so its baseline holds no more")
    assert len(lab.of(ce.CryostatFrozen)) == 1 + late
    lab.run(EVIDENCE.deadline_s)
    assert lab.states()["a1"] == "rolled-back"


def test_a_retry_after_that_takes_another_baseline() -> None:
    lab = on_trial(GUARDED)
    lab.kelvin, lab.fridge = {"cryo-a": 4.3}, {"cryo-a": "warm-up"}
    lab.run(100)
    lab.kelvin.clear()
    lab.fridge.clear()
    lab.until(ce.CryostatThawed)
    lab.run(50)
    revert_by_lease(lab, "a1")
    assert lab.states()["a1"] == "checked", "not against a baseline that holds no more"
    lab.run(40_000)
    assert outcomes(lab, "a1") == ["passed"]
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_a_fridge_that_left_its_base_before_anything_was_flashed_begins_baselines_anew() -> None:
    lab = measured(GUARDED)
    lab.run(500)
    lab.fridge = {"cryo-a": "cooldown"}
    lab.run(20)
    assert lab.of(ce.CryostatHeldOut)
    assert cohort_of(lab, "a1").baseline_count("a1", SNR.name) <= 2
    lab.fridge.clear()
    lab.run(20_000)
    assert lab.rollout.state.ended is Ending.CONFIRMED


def test_those_nothing_was_sent_to_yet_take_another_baseline() -> None:
    """The heat budget lets one at a time: the other waits with a baseline that holds no more."""
    one = measured_plan(guarded=True, fleet=(("a1", "a2"), ("a3", "a4")))
    plan = replace(one, heat_slots={"cryo-a": 1})
    lab = on_trial(plan)
    waiting = {"a1": "a2", "a2": "a1"}[next(n for n, s in lab.states().items() if s == "watched")]
    lab.kelvin, lab.fridge = {"cryo-a": 4.3}, {"cryo-a": "warm-up"}
    lab.run(100)
    lab.kelvin.clear()
    lab.fridge.clear()
    cohort = cohort_of(lab, waiting)
    assert not cohort.frozen
    assert cohort.rule.controls == ("a3", "a4")
    assert lab.rollout.state.devices[waiting].baseline_taken is False
