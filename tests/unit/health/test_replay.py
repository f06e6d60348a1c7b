"""Replays: healthy data pass, a shift is found when `sight` says so, what is missing holds."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from scipy.stats import binomtest

from cryofw.health import (
    AlphaLedger,
    CohortRule,
    MetricContract,
    Shift,
    StreamKind,
    Worse,
    sight,
    wave_streams,
)
from cryofw.health.backtest import Window, replay_rollouts, rollout_duration_s
from cryofw.health.backtest_summary import (
    Share,
    by_wave,
    detections,
    false_by_stream,
    false_share,
    held_share,
    noise_of,
    replays_for,
)
from cryofw.health.replay import replay
from cryofw.health.wave_replay import ReplayedWave, ReplayOutcome, Row

SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.5, reject=2.5)
ALPHA = 0.05


def wave(
    devices: int = 1,
    controls: int = 0,
    *,
    baseline: int = 60,
    planned: int = 40,
    settle_s: float = 0.0,
    hold_s: float = 400.0,
    number: int = 1,
    names: str = "d",
) -> ReplayedWave:
    updated = tuple(f"{names}{i}" for i in range(devices))
    ledger = AlphaLedger.open(ALPHA, wave_streams(devices, (SNR,)))
    others = tuple(f"c{i}" for i in range(controls))
    name = f"stage/{number}/{names}"
    rule = CohortRule(
        name, updated, others, (SNR,), 10.0, baseline, 20, planned, ledger, name.encode()
    )
    return ReplayedWave("stage", number, rule, settle_s, hold_s, updated)


def rows(wave: ReplayedWave, seed: int, slots: int | None = None) -> list[Row]:
    noise = random.Random(seed)
    count = wave.most_slots if slots is None else slots
    return [{name: {"snr": noise.gauss(27, 1)} for name in wave.members} for _ in range(count)]


def shifted(rows: list[Row], device: str, after: int, by: float) -> list[Row]:
    return [
        {**row, device: {"snr": row[device]["snr"] + by}} if slot >= after else row
        for slot, row in enumerate(rows)
    ]


def test_healthy_data_pass_and_use_no_more_than_the_soak() -> None:
    one = wave(2, 2, settle_s=30)
    played = replay(one, rows(one, 3))

    assert played is not None
    assert (played.outcome, played.why, played.alarms) == (ReplayOutcome.PASSED, "", ())
    assert played.slots == one.least_slots == 60 + 3 + 40
    assert played.settled == {"snr": Shift.FINE}
    noises = [seen.noise for seen in played.seen["snr"]]
    assert noises == pytest.approx([math.sqrt(1.5)] * 2, rel=0.2), "with that of two controls"


def test_what_gets_worse_by_itself_is_a_false_alarm_with_its_time() -> None:
    one = wave()
    played = replay(one, shifted(rows(one, 3), "d0", 70, -4))

    assert played is not None
    assert played.outcome is ReplayOutcome.ROLLED_BACK
    (alarm,) = played.alarms
    assert (alarm.metric, alarm.kind, alarm.device) == ("snr", StreamKind.SHIFT, "d0")
    assert 110 <= alarm.after_s <= 250, "ten slots are fine, then it begins"
    assert "beyond the margin" in alarm.reason
    assert played.slots == 60 + alarm.after_s / 10


def test_a_drift_shared_with_the_controls_is_no_alarm_but_a_control_that_left_holds() -> None:
    one = wave(1, 2)
    data = rows(one, 4)
    for name in one.members:
        data = shifted(data, name, 60, -4)
    played = replay(one, data)

    assert played is not None
    assert played.outcome is ReplayOutcome.HELD
    assert "left its own baseline" in played.why
    assert not played.passed_later


def test_a_shift_is_put_on_the_updated_only_and_in_the_bad_direction() -> None:
    one = wave(1, 2)
    worse = replay(one, rows(one, 5), {"snr": 4.0})
    better = replay(one, shifted(rows(one, 5), "d0", 60, 4))

    assert worse is not None
    assert better is not None
    assert worse.outcome is ReplayOutcome.ROLLED_BACK
    assert worse.alarms[0].after_s < 120
    assert better.outcome is ReplayOutcome.PASSED


@pytest.mark.parametrize("empty", [{}, {"snr": math.nan}])
def test_gaps_hold_and_never_pass(empty: dict[str, float]) -> None:
    one = wave(1, 1)
    data = rows(one, 6)
    baseline_gone = [{**row, "d0": empty} if slot % 3 else row for slot, row in enumerate(data)]
    soak_gone = [{**row, "d0": empty} if slot >= 70 else row for slot, row in enumerate(data)]
    for gappy, why in ((baseline_gone, "of 60 baseline samples"), (soak_gone, "of 20 samples")):
        played = replay(one, gappy)
        assert played is not None
        assert played.outcome is ReplayOutcome.HELD
        assert why in played.why


def test_a_late_baseline_is_waited_for_and_a_held_wave_may_pass_later() -> None:
    one = wave()
    data = rows(one, 8)
    holes = [{} if slot % 5 == 0 and slot < 70 else row for slot, row in enumerate(data)]
    late = replay(one, holes)
    assert late is not None
    assert late.outcome is ReplayOutcome.PASSED
    assert late.slots > one.least_slots

    silent = [{} if 62 <= slot < 90 else row for slot, row in enumerate(data)]
    held = replay(one, silent)
    assert held is not None
    assert (held.outcome, held.passed_later) == (ReplayOutcome.HELD, True)


def test_rows_that_end_before_the_soak_are_no_replay() -> None:
    one = wave()
    assert replay(one, rows(one, 1, one.least_slots - 1)) is None
    assert replay(one, rows(one, 1, one.least_slots)) is not None
    gappy = [{} if slot < 10 else row for slot, row in enumerate(rows(one, 1, one.least_slots))]
    assert replay(one, gappy) is None, "the baseline came late"


def test_a_stage_shows_together_what_one_device_does_not() -> None:
    ledger = AlphaLedger.open(ALPHA, wave_streams(6, (SNR,)))
    pooled = tuple(f"{group}{i}" for group in "ab" for i in range(3))
    waves = [
        replace(
            (one := wave(3, 0, names=group, number=number, baseline=100)),
            rule=replace(one.rule, ledger=ledger),
            pooled=pooled,
        )
        for number, group in enumerate("ab", start=1)
    ]
    kinds = set()
    pools = waves[0].open_pools()
    for seed, one in enumerate(waves):
        played = replay(one, rows(one, seed), {"snr": 1.25}, pools)
        assert played is not None
        kinds |= {alarm.kind for alarm in played.alarms}
    assert StreamKind.POOLED in kinds


# --- rollouts -------------------------------------------------------------------------------


class EndlessNoise:
    """A recording that never ends, or does at `end_s`; notes which samples were handed out."""

    def __init__(self, end_s: float = math.inf, seed: int = 1) -> None:
        self.used: list[tuple[ReplayedWave, float]] = []
        self._end_s, self._noise = end_s, random.Random(seed)

    def window(self, wave: ReplayedWave, not_before_s: float) -> Window | None:
        if not_before_s + 10 * wave.least_slots > self._end_s:
            return None
        self.used.append((wave, not_before_s))
        rows = [
            {name: {"snr": self._noise.gauss(27, 1)} for name in wave.members}
            for _ in range(wave.most_slots)
        ]
        return Window(not_before_s, rows, is_last=False)


def test_the_bound_of_false_rollbacks_contains_alpha() -> None:
    found = replay_rollouts(lambda n: [wave(2, 2)], EndlessNoise(), 0.0, most=250)
    false, held = false_share(found), held_share(found)

    assert false.total == 250
    assert false.interval[0] <= ALPHA
    assert held.count <= 25
    assert noise_of(found)["snr"] == pytest.approx(math.sqrt(1.5), rel=0.05)
    assert sum(share.count for share in false_by_stream(found).values()) >= false.count


def test_detection_agrees_with_what_sight_promises() -> None:
    one = wave(baseline=100, planned=60)
    promised = sight(100, 60, one.rule.ledger.threshold(StreamKind.SHIFT))
    smallest = promised.smallest_shift(SNR, 1.0)
    assert smallest is not None
    shares = {}
    for shift in (smallest, 0.6 * smallest):
        shifts = {"snr": shift}
        found = replay_rollouts(lambda n: [one], EndlessNoise(), 0.0, most=200, shifts=shifts)
        (stage,) = [d for d in detections(found, shifts) if d.number == 0]
        shares[shift] = stage.found.count / stage.found.total
        assert stage.median_s is not None
        assert stage.median_s < 600
    assert shares[smallest] == pytest.approx(0.9, abs=0.07)
    assert shares[0.6 * smallest] < 0.65


def test_nobodys_samples_serve_two_rollouts_and_a_baseline_overlaps_the_soak_before() -> None:
    data = EndlessNoise(20_000)
    first, second = wave(1, 2), wave(1, 2, names="e", number=2)
    waves = [first, second]
    found = replay_rollouts(lambda n: waves, data, 0.0, most=1000)

    assert len(found) >= 10
    spans = [(placed.start_s, placed.replay.slots) for one in found for placed in one.waves]
    assert rollout_duration_s(waves) == 10 * (60 + 40 + 40)
    for (start_s, slots), (next_s, _) in zip(spans[::2], spans[1::2], strict=True):
        assert next_s == start_s + 10 * slots - 10 * 60
    ends = [one.waves[-1].start_s + 10 * one.waves[-1].replay.slots for one in found]
    starts = [one.waves[0].start_s for one in found]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_a_stage_counts_the_soaks_before_the_wave_that_saw_it() -> None:
    first, second = wave(names="a"), wave(names="b", number=2)
    quiet = [{name: {"snr": 27.0} for name in first.members}] * first.most_slots

    class Quiet(EndlessNoise):
        """The first wave measures nothing, so it sees nothing."""

        def window(self, wave: ReplayedWave, not_before_s: float) -> Window | None:
            window = super().window(wave, not_before_s)
            if window is None or wave is second:
                return window
            blind = [row if slot < 60 else {} for slot, row in enumerate(quiet)]
            return replace(window, rows=blind)

    shifts = {"snr": 4.0}
    found = replay_rollouts(lambda n: [first, second], Quiet(), 0.0, most=10, shifts=shifts)
    stage, one, two = sorted(detections(found, shifts), key=lambda d: d.number)
    assert one.found.count == 0
    assert two.found.count == stage.found.count == 10
    assert stage.median_s == 400 + (two.median_s or 0)
    assert [count.held.count for count in by_wave(found)] == [10, 0]


@pytest.mark.parametrize(("count", "total"), [(0, 118), (1, 118), (118, 118), (4, 10)])
def test_the_interval_is_wilsons(count: int, total: int) -> None:
    theirs = binomtest(count, total).proportion_ci(method="wilson")
    assert Share(count, total).interval == pytest.approx((theirs.low, theirs.high), abs=1e-5)


def test_how_many_replays_it_takes() -> None:
    assert replays_for(0.01) == 381
    assert Share(0, 381).interval[1] <= 0.01 < Share(0, 380).interval[1]
    assert Share(0, 0).interval == (0.0, 1.0)
