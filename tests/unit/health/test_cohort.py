"""A wave and its controls."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest

from cryofw.health import MetricContract, Shift, Worse
from cryofw.health.cohort import Cohort
from cryofw.health.controls import ControlGroup
from cryofw.health.ledger import AlphaLedger
from cryofw.health.pool import Pool
from cryofw.health.rule import CohortRule, wave_streams

SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.0, reject=2.5)
EVERY_S = 30.0


def a_rule(devices: int = 2, controls: int = 3, baseline: int = 100) -> CohortRule:
    return CohortRule(
        "fleet/1",
        tuple(f"d{i}" for i in range(devices)),
        tuple(f"c{i}" for i in range(controls)),
        (SNR,),
        EVERY_S,
        baseline,
        20,
        60,
        AlphaLedger.open(0.01, wave_streams(devices, (SNR,))),
        b"digest",
    )


class Lab:
    """Feeds a cohort: every device, every slot; `weather` is what all share."""

    def __init__(self, rule: CohortRule, seed: int = 1) -> None:
        self.rule, self.cohort, self.noise = rule, Cohort(rule), random.Random(seed)
        self.names = [*rule.devices, *rule.controls]
        self.t = 0
        self.shift = dict.fromkeys(self.names, 0.0)
        self.weather = 0.0

    def run(self, slots: int, silent: tuple[str, ...] = ()) -> None:
        for _ in range(slots):
            for i, name in enumerate(self.names):
                value = 25 + 3 * i + self.weather + self.shift[name] + self.noise.gauss(0, 1)
                if name not in silent:
                    t_s = 1e9 + EVERY_S * self.t + self.noise.uniform(0, 5)
                    self.cohort.observe(name, t_s, {"snr": value})
            self.t += 1

    def update(self) -> None:
        for device in self.rule.devices:
            self.cohort.begin(device, 1e9 + EVERY_S * (self.t - 0.5))

    def shifts(self, *, soaked: bool = True) -> list[Shift]:
        return [
            finding.shift
            for device in self.rule.devices
            for finding in self.cohort.findings(device, soaked=soaked)
        ]


def test_a_healthy_wave_passes_under_a_drift_that_all_share() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    assert lab.cohort.baseline_complete
    lab.update()
    for _ in range(60):
        lab.weather -= 0.03
        lab.run(1)

    assert lab.shifts() == [Shift.FINE, Shift.FINE]
    assert lab.cohort.findings("d0", soaked=True)[0].evidence["controls"] == ["c0", "c1", "c2"]


def test_one_bad_device_is_found_among_the_good() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.shift["d1"] = -3
    lab.run(60)

    assert lab.cohort.findings("d0", soaked=True)[0].shift is Shift.FINE
    assert lab.cohort.findings("d1", soaked=True)[0].shift is Shift.REGRESSED


def test_a_shift_too_small_for_one_device_is_found_on_ten() -> None:
    lab = Lab(a_rule(devices=10))
    lab.run(100)
    lab.update()
    for device in lab.rule.devices:
        lab.shift[device] = -1.0
    lab.run(25)
    pool = lab.cohort.pools["snr"]

    assert pool.regressed
    assert "over 10 devices" in pool.finding().reason
    assert any(s.regressed == "" for d in lab.rule.devices for s in lab.cohort.streams(d).values())


@pytest.mark.parametrize("direction", [-4.0, 4.0])
def test_a_control_group_that_left_its_baseline_proves_nothing(direction: float) -> None:
    """Crosstalk moves both sides: the difference sees nothing, and that is no pass."""
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.weather = direction
    lab.run(60)
    finding = lab.cohort.findings("d0", soaked=True)[0]

    assert finding.shift is Shift.UNDECIDED
    assert "left its own baseline" in finding.reason


def test_one_control_that_left_is_named_and_rolls_nothing_back() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.shift["c1"] = 12.0  # every difference looks 4 dB worse
    lab.run(60)

    assert set(lab.shifts()) == {Shift.UNDECIDED}
    assert lab.cohort.groups["snr"].left in {"c1", "the control group"}


def test_a_slot_needs_two_thirds_of_its_controls() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.run(30, silent=("c0",))
    one_missing = lab.cohort.streams("d0")["snr"].count
    lab.run(30, silent=("c0", "c1"))

    assert one_missing >= 25
    assert lab.cohort.streams("d0")["snr"].count <= one_missing + 5


def test_without_its_controls_nothing_passes() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.run(80, silent=("c0", "c1", "c2"))

    assert set(lab.shifts()) == {Shift.UNDECIDED}


def test_a_baseline_without_controls_is_not_complete() -> None:
    lab = Lab(a_rule())
    lab.run(150, silent=("c0", "c1"))

    assert not lab.cohort.baseline_complete


def test_a_missing_control_does_not_move_the_mean() -> None:
    """The controls differ by 3 dB each; a mean over whoever is there would jump."""
    group = ControlGroup(SNR, ("a", "b", "c"), 50, 60, b"")
    for slot in range(50):
        for name, level in (("a", 10.0), ("b", 20.0), ("c", 30.0)):
            group.observe(name, slot, level + slot % 2)
    group.freeze()
    for name, level in (("a", 10.5), ("b", 20.5)):
        group.observe(name, 50, level)
    group.reach(53)

    assert group.level(50) == pytest.approx(0.0)
    group.observe("c", 50, 999.0)
    assert group.level(50) == pytest.approx(0.0), "late"


def test_without_controls_before_and_after_are_compared() -> None:
    lab = Lab(a_rule(devices=1, controls=0))
    lab.run(100)
    lab.update()
    lab.run(60)
    assert lab.shifts() == [Shift.FINE]
    lab.shift["d0"] = -4
    lab.run(30)
    assert lab.shifts() == [Shift.REGRESSED]


def test_a_new_attempt_bets_against_the_same_baseline_and_needs_to_win_more() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.run(10)
    first = lab.cohort.streams("d0")["snr"]
    lab.cohort.retry("d0", 2)
    second = lab.cohort.streams("d0")["snr"]
    lab.run(5)
    assert second.count == 0, "not before it begins again"
    lab.cohort.begin("d0", 1e9 + EVERY_S * (lab.t - 0.5))
    lab.run(60)

    assert second.rule.shift_threshold == pytest.approx(4 * first.rule.shift_threshold)
    assert second.before == first.before
    assert second.count >= 58
    assert lab.shifts() == [Shift.FINE, Shift.FINE]
    assert lab.cohort.pools["snr"].count == 10, "one of two is no quorum"


def test_the_absolute_bound_holds_also_without_controls() -> None:
    limited = replace(SNR, limit=20)
    ledger = AlphaLedger.open(0.01, wave_streams(2, (limited,)))
    lab = Lab(replace(a_rule(), metrics=(limited,), ledger=ledger))
    lab.run(100)
    lab.update()
    lab.weather = -10
    lab.run(60)

    assert lab.cohort.groups["snr"].left
    assert lab.cohort.findings("d0", soaked=True)[0].shift is Shift.REGRESSED


def test_a_device_without_a_baseline_is_no_member_of_the_pool() -> None:
    lab = Lab(a_rule(devices=4))
    lab.run(100, silent=("d3",))
    lab.update()
    lab.run(30, silent=("d3",))

    assert lab.cohort.pools["snr"].count >= 28
    assert lab.cohort.findings("d3", soaked=True)[0].shift is Shift.UNDECIDED


def test_the_wave_shows_its_controls_and_pools() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.run(20)
    evidence = lab.cohort.evidence()

    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
    assert set(evidence) == {"control_groups", "pools", "blocks"}


def test_a_pool_does_not_care_who_reports_first_and_drops_who_is_gone() -> None:
    noise = random.Random(1)
    baselines = {f"d{i}": {s: noise.gauss(5 * i, 1) for s in range(60)} for i in range(4)}
    samples = [(f"d{i}", k, noise.gauss(5 * i, 1)) for i in range(4) for k in range(30)]
    turns = sorted(samples, key=lambda s: s[1])
    pools = [Pool(SNR, baselines, 30, 1000, b"") for _ in range(3)]
    for pool, order in zip(pools, (samples, turns, turns), strict=True):
        for member, index, value in order:
            pool.observe(member, index, value)
    third = pools[2]
    third.observe("d0", 29, 1e6)
    third.observe("d0", 30, 0.0)

    assert pools[0].evidence() == pools[1].evidence() == third.evidence()
    assert third.count == 30
    for member in ("d1", "d2", "d3"):
        third.drop(member)
    assert third.count == 30, "one of four is no quorum"


def test_a_cohort_ignores_strangers_and_gaps() -> None:
    lab = Lab(a_rule())
    lab.run(100)
    lab.update()
    lab.cohort.observe("stranger", 1e9, {"snr": 0.0})
    lab.cohort.observe("d0", 1e9 + EVERY_S * 101, {})
    lab.cohort.observe("d0", 1e9 + EVERY_S * 102, {"snr": math.nan})
    lab.cohort.observe("d0", 0.0, {"snr": -99.0})

    assert lab.cohort.streams("d0")["snr"].count == 0


def test_large_waves_with_many_metrics_are_judged() -> None:
    """50 devices x 4 metrics x 60 samples a wave; `tests.bench.judging` measures what it costs."""
    metrics = tuple(replace(SNR, name=f"m{i}") for i in range(4))
    rule = replace(
        a_rule(devices=50),
        metrics=metrics,
        ledger=AlphaLedger.open(0.01, wave_streams(50, metrics) * 20),
    )
    noise = random.Random(1)
    names = [*rule.devices, *rule.controls]
    waves = [Cohort(replace(rule, name=f"wave-{i}")) for i in range(2)]
    values = [
        {name: {m.name: noise.gauss(25, 1) for m in metrics} for name in names} for _ in range(160)
    ]
    for cohort in waves:
        for t in range(100):
            for name in names:
                cohort.observe(name, t * EVERY_S, values[t][name])
        cohort.freeze()
        for device in rule.devices:
            cohort.begin(device, 99.5 * EVERY_S)

    for cohort in waves:
        for t in range(100, 160):
            for name in names:
                cohort.observe(name, t * EVERY_S, values[t][name])
        passed = [cohort.findings(d, soaked=True) for d in rule.devices]
        assert all(f.shift is Shift.FINE for found in passed for f in found)
