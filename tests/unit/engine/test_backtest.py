"""Backtests: what is cut out of a recording, who is replayed, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.backtest import (
    Backtester,
    NothingToReplay,
    RecordingTooCoarse,
    RecordingTooShort,
    hours,
)
from cryofw.engine.recorded_windows import RecordedWindows, on_grid
from cryofw.engine.replayed_plan import replayed_waves
from cryofw.errors import UsageError
from cryofw.fleet import parse_fleet
from cryofw.health import StreamKind
from cryofw.health.backtest_summary import false_by_stream, false_share, held_share
from cryofw.telemetry import Recorder, Recording
from tests.unit.engine.small_recording import DEVICES, FLEET, START_S, record

if TYPE_CHECKING:
    from cryofw.health.wave_replay import ReplayedWave

LAB = parse_fleet(FLEET)


@pytest.fixture(scope="module")
def day() -> Recording:
    return record(16)


# --- who is replayed ------------------------------------------------------------------------


def waves(seed: str = "1", **others: tuple[str, ...]) -> tuple[ReplayedWave, ...]:
    return replayed_waves(LAB, others.get("devices", DEVICES), ("snr", "jitter"), seed)


def test_the_waves_are_those_of_a_rollout() -> None:
    rig, first, last = waves()

    assert (rig.stage, rig.rule.devices, len(rig.rule.controls)) == ("rig", ("rig-a",), 3)
    assert (first.stage, first.number, len(first.rule.devices)) == ("cryo", 1, 2)
    assert first.rule.controls[:1] == last.rule.devices, "one is held back as a control"
    assert sorted(first.pooled) == ["c-a", "c-b", "c-c"]
    assert last.rule.planned_samples == 60
    ledger = first.rule.ledger
    assert ledger.streams[StreamKind.SHIFT] == 8, "one alpha for all devices and metrics"
    assert ledger.total(50) == pytest.approx(0.01)


def test_the_seed_says_who_is_updated_first() -> None:
    firsts = {frozenset(waves(str(seed))[1].rule.devices) for seed in range(20)}

    assert len(firsts) == 3, "each of three was held back once"
    assert waves("7") == waves("7")


def test_who_was_not_recorded_takes_no_part_but_keeps_its_alpha() -> None:
    fewer = waves(devices=("c-a", "c-b"))

    assert {wave.stage for wave in fewer} == {"cryo"}
    assert {name for wave in fewer for name in wave.members} == {"c-a", "c-b"}
    assert fewer[0].rule.ledger == waves()[0].rule.ledger


# --- windows --------------------------------------------------------------------------------


def series(*points: tuple[float, float]) -> Recording:
    recorder = Recorder("r")
    for t_s, value in points:
        recorder.add("d", "m", t_s, value)
    return recorder.build()


def test_jitter_moves_no_sample_into_its_neighbours_slot() -> None:
    jitter = [0.0, 4.9, 0.3, 9.4, 0.0, 4.0, 5.5, 9.9]
    points = [(1000 + 30 * slot + 14.9 + j, float(slot)) for slot, j in enumerate(jitter)]
    rows = on_grid(series(*points).series, 1000.0, 30.0, 8)

    assert [row["d"]["m"] for row in rows] == [float(slot) for slot in range(8)]


def test_of_dense_samples_the_first_of_each_slot_counts_and_a_gap_is_one() -> None:
    points = [(1000.0 + t, float(t)) for t in range(300) if not 90 <= t < 150]
    rows = on_grid(series(*points).series, 1000.0, 30.0, 10)

    assert len(rows) == 10
    values = [row["d"]["m"] for row in rows if row]
    assert values == sorted(values)
    assert len(values) in {8, 9}


def test_a_window_lies_within_one_cooldown_and_past_what_nobody_recorded() -> None:
    wave = waves()[1]
    least_s = wave.least_slots * 10
    recording = record(3, cooldown=lambda t_s: "cd7" if t_s < 600 else "cd8")
    windows = RecordedWindows(recording, START_S, recording.end_s)

    window = windows.window(wave, START_S)
    assert window is not None
    assert window.start_s == pytest.approx(START_S + 600, abs=1.5)
    assert len(window.rows) == wave.most_slots
    assert windows.window(wave, recording.end_s - least_s + 60) is None

    late = Recording("r", recording.between(START_S + 3600, recording.end_s).series)
    window = RecordedWindows(late, START_S, recording.end_s).window(wave, START_S)
    assert window is not None
    assert window.start_s == pytest.approx(START_S + 3600, abs=2)


# --- results --------------------------------------------------------------------------------


def test_healthy_data_are_told_from_shifted_ones(day: Recording) -> None:
    result = Backtester(LAB, day).run()
    false, held = false_share(result.rollouts), held_share(result.rollouts)

    assert result.rollout_s == 2400
    assert 18 <= false.total <= 16 * 3600 / 2400
    assert false.interval[0] <= result.false_rollback == 0.01
    assert held.count <= 2
    assert result.noise["snr"] == pytest.approx(0.24, abs=0.05)
    labels = [scenario.label for scenario, _ in result.shifted]
    assert labels == ["reject", *(f"margin + {k} x noise" for k in (1, 2, 3))]
    for one in result.shifted[0][1]:
        assert one.found.count >= one.found.total - 1, "a baseline may look too slow to judge"
        assert one.missed == 0
        assert 30 <= (one.median_s or 0) <= 300


def test_the_number_of_processes_changes_nothing(day: Recording) -> None:
    shifts = {"snr": [0.9]}
    alone = Backtester(LAB, day, seed=5, jobs=1).run(shifts)
    assert alone == Backtester(LAB, day, seed=5, jobs=2).run(shifts)
    assert alone.rollouts != Backtester(LAB, day, seed=6, jobs=1).run(shifts).rollouts
    ((scenario, found),) = alone.shifted
    assert scenario.shifts == {"snr": 0.9}
    assert {one.metric for one in found} == {"snr"}


def test_steps_that_no_control_shares_are_mistakes_and_are_named() -> None:
    hourly = record(
        12, change=lambda d, m, t: -2.0 if m == "snr" and d != "rig-a" and t % 3600 > 1500 else 0
    )
    only = {k: v for k, v in hourly.series.items() if k[0] in {"c-a", "rig-a"}}
    result = Backtester(LAB, replace(hourly, series=only)).run({"snr": [1.5]})

    assert false_share(result.rollouts).count >= 2
    assert set(false_by_stream(result.rollouts)) == {("snr", StreamKind.SHIFT)}
    assert result.absent_devices == ("c-b", "c-c")


def test_gaps_are_held_and_counted() -> None:
    whole = record(12)
    series = dict(whole.series)
    one = series["c-a", "snr"]
    kept = Recorder("r")
    for t_s, value in one:
        if (t_s - START_S) % 3600 < 900:
            kept.add("c-a", "snr", t_s, value)
    series |= kept.build().series
    result = Backtester(LAB, replace(whole, series=series)).healthy()

    assert false_share(result).count == 0
    assert held_share(result).count > len(result) / 2
    reasons = {wave.replay.why for one in result for wave in one.waves if wave.replay.why}
    assert any(r.startswith("c-a would not be updated: snr: only") for r in reasons)


# --- refusals -------------------------------------------------------------------------------


def test_too_few_rollouts_are_refused_with_what_it_takes() -> None:
    with pytest.raises(RecordingTooShort) as caught:
        Backtester(LAB, record(4)).run()
    assert "whole rollouts fit into its 4 h of samples; one takes 40 min" in caught.value.why
    assert caught.value.hint == "record 8 h or more"
    assert caught.value.exit_code == 3


def test_a_recording_of_others_is_refused() -> None:
    with pytest.raises(NothingToReplay, match=r"no device of fleet\.yaml: it has x-1"):
        Backtester(LAB, record(1, devices=("x-1",)))
    strange = record(1)
    renamed = {(d, f"x_{m}"): one for (d, m), one in strange.series.items()}
    with pytest.raises(NothingToReplay, match=r"no metric of fleet\.yaml: it has x_jitter, x_snr"):
        Backtester(LAB, replace(strange, series=renamed))


def test_a_recording_with_fewer_samples_than_a_rollout_takes_is_refused() -> None:
    with pytest.raises(RecordingTooCoarse) as caught:
        Backtester(LAB, record(1, every_s=60.0))
    assert "`every` is 10 s" in caught.value.why


@pytest.mark.parametrize(
    ("shifts", "what"),
    [({"gain": [1.0]}, "put on gain"), ({"snr": [-1.0]}, "no worse"), ({"snr": [0.0]}, "no worse")],
)
def test_a_shift_that_makes_no_sense(
    day: Recording, shifts: dict[str, list[float]], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        Backtester(LAB, day).run(shifts)


def test_times_for_people() -> None:
    assert [hours(s) for s in (45, 150, 7200, 40_000, 200_000)] == [
        "45 s", "2.5 min", "2 h", "11.1 h", "2.31 days",
    ]  # fmt: skip
