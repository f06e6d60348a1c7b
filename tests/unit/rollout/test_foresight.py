"""What a plan says beforehand: what it will find, how long it takes, whom it compares with."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.fleet import parse_fleet
from cryofw.health import BeatTest, StreamKind, sight
from cryofw.release import Firmware
from cryofw.rollout import Plan, Running, Wish, make_plan
from cryofw.rollout.foresight import PastBaseline, foresee, past_baselines
from cryofw.rollout.streams import beats_planned, ledger_of

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  heartbeat: {every: 10 s}
  reset: watchdog
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
  calibration:
    every: 30 s
    baseline_samples: 100
    metrics:
      snr: {unit: dB, worse: lower, margin: 0.5, reject: 1.5, limit: 20}
stages:
  - {name: rig, targets: [rig-1], soak: 30 min}
  - {name: fleet, targets: [cryo-1], soak: 1 h, waves: [1, 50 %, 100 %]}
cryostats:
  rig-1: {controllers: {r: {port: "sim://r"}}}
  cryo-1:
    controllers: {a: {port: "sim://a"}, b: {port: "sim://b"}, c: {port: "sim://c"}, d: {port: "sim://d"}}
simulation: {metrics: {snr: {nominal: 25, noise: 0.1}}}
"""
OLD = Firmware("bb" * 32, "ee" * 32, "1.0.0", 0, 4096, "cc40", "dd" * 32)
NEW = replace(OLD, hash="aa" * 32, version="1.1.0")
RUNS_OLD = Running(OLD.hash, "1.0.0", "5a", 8192, watchdog=True)


def a_plan(text: str = TEXT, answers: Mapping[str, Running] | None = None) -> Plan:
    fleet = parse_fleet(text, "fleet.yaml")
    running = {c.name: (answers or {}).get(c.name, RUNS_OLD) for c in fleet.controllers}
    wish = Wish(NEW, "anna", "2026-11-20T23:00:00Z", "00")
    return make_plan(fleet, wish, running, {f.hash: f for f in (OLD, NEW)}, {})


def test_controls_are_of_the_same_cryostat_of_others_or_run_the_new_firmware() -> None:
    rig, fleet = (stage.comparisons for stage in foresee(a_plan()).stages)

    assert set(rig.controls["r"]) <= {"a", "b", "c", "d"}
    assert (rig.far, rig.near, rig.alone) == (("r",), (), ())
    assert set(fleet.controls["a"]) == {"b", "c", "d"}
    assert set(fleet.controls["b"]) == {"c", "d"}
    assert fleet.near == ("a", "b", "c", "d")
    # The last wave has nobody left who was not updated.
    assert fleet.steady == ("c", "d")
    assert set(fleet.controls["c"]) == {"a", "b"}


def test_a_lab_of_one_device_has_no_controls() -> None:
    start = TEXT.index("  - {name: fleet"), TEXT.index("cryostats:")
    text = TEXT[: start[0]] + TEXT[start[1] : TEXT.index("  cryo-1:")] + TEXT.splitlines()[-1]
    (rig,) = foresee(a_plan(text)).stages
    assert rig.comparisons.alone == ("r",)
    assert rig.comparisons.controls == {"r": ()}


def test_who_runs_the_release_or_is_silent_is_neither_judged_nor_waited_for() -> None:
    answers = {"a": replace(RUNS_OLD, hash=NEW.hash), "b": Running(why="no answer")}
    plain, fewer = foresee(a_plan()).stages[1], foresee(a_plan(TEXT, answers)).stages[1]
    assert fewer.comparisons.updated == ("c", "d")
    assert "b" not in fewer.comparisons.controls["c"]
    assert fewer.duration_s < plain.duration_s - 3600


def test_a_wave_takes_its_baseline_while_the_one_before_it_soaks() -> None:
    """50 min of baseline hide behind an hour of soak, but not behind the first wave.

    The last one waits for its controls: they are what the one before it updates.
    """
    rig, fleet = foresee(a_plan()).stages
    assert rig.duration_s == pytest.approx(3000 + 1800, abs=60)
    assert fleet.comparisons.early == {1}
    assert fleet.duration_s == pytest.approx(2 * 3000 + 3 * 3600, abs=120)
    longer = a_plan(TEXT.replace("baseline_samples: 100", "baseline_samples: 300"))
    assert foresee(longer).stages[1].duration_s > 9000 + 3 * 3600 + 1000


def test_a_small_heat_budget_makes_flashes_wait_for_one_another() -> None:
    plan = a_plan()
    tight = replace(plan, heat_slots=dict.fromkeys(plan.heat_slots, 1))
    slow = replace(plan, release=replace(NEW, size=11_520 * 60))
    assert foresee(slow).duration_s > foresee(plan).duration_s + 4 * 60
    assert foresee(tight).duration_s > foresee(plan).duration_s


def test_without_a_baseline_the_sight_is_in_standard_deviations() -> None:
    plan = a_plan()
    rig, fleet = foresee(plan).stages
    threshold = ledger_of(plan).threshold(StreamKind.SHIFT)
    (seen,) = rig.sights.values()
    assert seen == sight(100, 60, threshold)
    assert [one.smallest for one in (*rig.seen, *fleet.seen)] == [None, None]
    assert (fleet.seen[0].known, fleet.seen[0].devices) == (0, 4)


def test_an_earlier_baseline_puts_it_in_the_metrics_unit() -> None:
    plan = a_plan()
    past = {"r": {"snr": PastBaseline(0.2, 1, 9.0)}, "a": {"snr": PastBaseline(0.4, 3, 0.9)}}
    rig, fleet = foresee(plan, past).stages
    (seen,) = rig.sights.values()
    assert seen.finds is not None
    assert rig.seen[0].smallest == pytest.approx(0.5 + seen.finds * 0.2)
    assert fleet.seen[0].smallest == 0.9  # its noise remembers: what it found then
    assert (fleet.seen[0].known, fleet.seen[0].blind) == (1, False)


def test_a_stage_that_would_be_refused_is_named_beforehand() -> None:
    loud = {"r": {"snr": PastBaseline(2.0, 1, None)}, "a": {"snr": PastBaseline(0.2, 0, None)}}
    rig, fleet = foresee(a_plan(), loud).stages
    assert rig.seen[0].blind
    assert fleet.seen[0].blind
    assert fleet.seen[0].smallest == math.inf


def test_silence_is_told_as_the_bet_itself_would_raise_it() -> None:
    plan = a_plan()
    (silence, _) = (stage.silence for stage in foresee(plan).stages)
    assert silence is not None
    bet = BeatTest(beats_planned(plan)["r"], ledger_of(plan).threshold(StreamKind.HEARTBEAT))
    for _ in range(silence.misses - 1):
        bet.observe(answered=False)
    assert not bet.alarmed
    bet.observe(answered=False)
    assert bet.alarmed
    assert silence.after_s == 10 * silence.misses


def test_baselines_of_an_odd_journal_are_left_out() -> None:
    good = {"sd": 0.2, "block": 1, "sees": 0.7}
    found: dict[str, dict[str, object]] = {
        "a": {"metrics": {"snr": good, "odd": {"sd": "loud"}, "none": None}},
        "b": {"metrics": ["snr"]},
        "c": {"samples": {}},
    }
    assert past_baselines(found) == {"a": {"snr": PastBaseline(0.2, 1, 0.7)}}
