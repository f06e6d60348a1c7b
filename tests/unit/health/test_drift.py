"""Whose drift it is, and that what is not known is never called steady."""

from __future__ import annotations

import math
from array import array
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.health.drift import look_for_drift
from cryofw.health.drift_blocks import DriftSeries, middle_mean
from cryofw.health.drift_verdict import DAY_S, DriftFinding, DriftRule, DriftVerdict
from cryofw.telemetry.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START_S = 1_760_000_000.0
EVERY_S = 1800.0
COUNT = 30 * 48
ONSET_DAY = 15
RULE = DriftRule(START_S, START_S + 10 * DAY_S, START_S + 30 * DAY_S)
TIMES = [START_S + EVERY_S * index for index in range(COUNT)]

DRIFTS, STEADY, NOT_JUDGED = DriftFinding.DRIFTS, DriftFinding.STEADY, DriftFinding.NOT_JUDGED


def ramp(per_day: float) -> list[float]:
    return [per_day * max(0.0, (t - START_S) / DAY_S - ONSET_DAY) for t in TIMES]


def lab(
    *drifts: float, shared: float = 0.0, wander: float = 1.0, seed: int = 3
) -> dict[str, list[float]]:
    """Values of one device for each drift, in units of its noise a day."""
    rng = Random(seed)
    common = [wander * rng.gauss(0, 1) + extra for extra in ramp(shared)]
    return {
        f"d{index}": [
            27 + c + r + rng.gauss(0, 1) for c, r in zip(common, ramp(drift), strict=True)
        ]
        for index, drift in enumerate(drifts)
    }


def series(values: Mapping[str, list[float]]) -> dict[str, DriftSeries]:
    return {name: DriftSeries(TIMES, one) for name, one in values.items()}


def judge(members: Mapping[str, DriftSeries], rule: DriftRule = RULE) -> dict[str, DriftVerdict]:
    return {one.device: one for one in look_for_drift("cryo-1", "snr", members, rule)}


def findings(members: Mapping[str, DriftSeries]) -> dict[str, DriftFinding]:
    return {name: one.finding for name, one in judge(members).items()}


def test_a_steady_cryostat() -> None:
    assert set(findings(series(lab(0, 0, 0, 0))).values()) == {STEADY}


def test_one_device_of_four() -> None:
    found = judge(series(lab(0, -0.3, 0, 0)))

    assert [name for name, one in found.items() if one.finding is DRIFTS] == ["d1"]
    drift = found["d1"].drift
    assert drift is not None
    assert drift.per_day == pytest.approx(-0.3, abs=0.1)
    assert drift.size == pytest.approx(-4.3, abs=1)
    assert drift.own == pytest.approx(drift.size, abs=1)
    assert drift.earliest_s <= drift.began_s <= drift.latest_s
    assert drift.began_s == pytest.approx(START_S + ONSET_DAY * DAY_S, abs=2 * DAY_S)
    assert drift.gradual
    assert found["d1"].neighbours == ("d0", "d2", "d3")
    assert found["d1"].judged_days == pytest.approx(20, abs=1)


def test_a_shared_cause_is_named_once() -> None:
    found = findings(series(lab(0, 0, 0, 0, shared=0.4)))

    assert found == {"": DRIFTS, "d0": STEADY, "d1": STEADY, "d2": STEADY, "d3": STEADY}


def test_what_all_share_hides_no_drift_of_one() -> None:
    """The common noise is five times that of a device."""
    assert findings(series(lab(0.3, 0, 0, 0, wander=5)))["d0"] is DRIFTS


def test_half_of_the_devices_are_not_blamed_on_the_other_half() -> None:
    found = findings(series(lab(0.4, 0.4, 0, 0)))

    assert found == {"": STEADY, "d0": DRIFTS, "d1": DRIFTS, "d2": STEADY, "d3": STEADY}


def test_of_two_that_part_the_one_that_moved_is_named() -> None:
    found = judge(series(lab(0, 0.5)))

    assert [name for name, one in found.items() if one.finding is DRIFTS] == ["d1"]
    assert "no neighbour" in found["d0"].why


def test_who_stands_still_in_a_cryostat_that_moves_does_not_drift() -> None:
    found = judge(series(lab(0.5, 0.5, 0.5, 0)))

    assert found[""].finding is DRIFTS
    assert found["d3"].finding is STEADY
    assert "stands still" in found["d3"].why


def test_a_device_alone_is_compared_with_its_own_past() -> None:
    found = judge(series(lab(0.5)))

    assert list(found) == ["d0"]
    assert found["d0"].finding is DRIFTS
    assert "no neighbour" in found["d0"].why


def damaged(change: Callable[[int, float], float | None]) -> dict[str, DriftSeries]:
    """A steady lab; of d0 a sample is changed, or left out."""
    values = lab(0, 0, 0)
    kept = [(t, change(i, v)) for i, (t, v) in enumerate(zip(TIMES, values["d0"], strict=True))]
    there = [(t, v) for t, v in kept if v is not None]
    broken = DriftSeries([t for t, _ in there], [v for _, v in there])
    return {**series(values), "d0": broken}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda i, v: None, "no sample in the period"),
        (lambda i, v: math.nan, "no sample in the period"),
        (lambda i, v: v if i > COUNT / 3 else None, "of 20 blocks of baseline"),
        (lambda i, v: v if i < COUNT * 0.8 else None, "silent for the last"),
        (lambda i, v: v if i < COUNT * 0.8 else math.nan, "silent for the last"),
        (lambda i, v: v if i < COUNT / 3 or i % 96 < 24 else None, "have enough data"),
        (lambda i, v: 27.0, "frozen reading"),
        (lambda i, v: v if i < COUNT * 0.9 else 27.0, "frozen reading"),
    ],
    ids=["absent", "NaN", "late", "silent", "NaN at the end", "gaps", "frozen", "frozen late"],
)
def test_too_little_data_is_not_steady(
    change: Callable[[int, float], float | None], why: str
) -> None:
    found = judge(damaged(change))

    assert found["d0"].finding is NOT_JUDGED
    assert why in found["d0"].why
    assert all(one.finding is STEADY for name, one in found.items() if name not in {"d0", ""})


def test_a_device_alone_with_a_frozen_reading_is_not_judged() -> None:
    found = judge({"d0": damaged(lambda i, v: 27.0)["d0"]})["d0"]

    assert (found.finding, "frozen reading" in found.why) == (NOT_JUDGED, True)


def test_gaps_are_counted() -> None:
    found = judge(damaged(lambda i, v: math.nan if 1000 <= i < 1100 else v))["d0"]

    assert found.finding is STEADY
    assert found.gaps > 3
    assert (found.samples, found.invalid) == (COUNT - 100, 100)


def test_noise_too_slow_for_the_baseline_is_not_judged() -> None:
    rng, level, walk = Random(1), 0.0, []
    for _ in range(COUNT):
        level += rng.gauss(0, 1)
        walk.append(level)
    found = judge({"d0": DriftSeries(TIMES, walk)})["d0"]

    assert found.finding is NOT_JUDGED
    assert "noise too slow" in found.why


def test_a_drift_that_began_before_is_not_judged_against_itself() -> None:
    values = lab(0, 0, 0, 0)
    values["d2"] = [v + (t - START_S) / DAY_S for v, t in zip(values["d2"], TIMES, strict=True)]
    found = judge(series(values))

    assert found["d2"].finding is NOT_JUDGED
    assert "in its baseline already" in found["d2"].why
    assert found["d0"].finding is STEADY


def test_an_hour_of_data_is_too_short() -> None:
    members = {"d0": DriftSeries(TIMES[:3], [1.0, 2.0, 3.0])}

    assert findings(members) == {"d0": NOT_JUDGED}


def recorded(samples: list[tuple[str, float, float]]) -> dict[str, DriftSeries]:
    recorder = Recorder("test")
    for device, t_s, value in samples:
        recorder.add(device, "snr", t_s, value)
    found = recorder.build().series
    return {d: DriftSeries(one.times, one.values) for (d, _), one in found.items()}


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
@settings(max_examples=8, deadline=None)
def test_late_repeated_and_unordered_samples_change_nothing(seed: int, drift: float) -> None:
    samples = [
        (name, t, v)
        for name, values in lab(drift, 0, 0).items()
        for t, v in zip(TIMES, values, strict=True)
    ]
    rng = Random(seed)
    again = samples + rng.sample(samples, 500)
    rng.shuffle(again)

    assert judge(recorded(again)) == judge(recorded(samples))


@given(st.lists(st.tuples(st.integers(0, COUNT), st.integers(1, 600)), max_size=6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_missing_data_never_count_as_steady(holes: list[tuple[int, int]], absent: bool) -> None:
    gone = {i for first, length in holes for i in range(first, first + length)}
    members = damaged(lambda i, v: v if i not in gone else None if absent else math.nan)
    found = judge(members)["d0"]
    judged = [i for i in range(COUNT // 3, COUNT) if i not in gone]

    if found.finding is STEADY:
        assert len(judged) >= 0.4 * COUNT * 2 / 3
        assert len([i for i in range(COUNT // 3) if i not in gone]) >= COUNT / 3 / 4
        assert max(judged) > COUNT * 0.9


def test_arrays_serve_as_well_as_lists() -> None:
    values = lab(0.3, 0, 0)
    arrays = {n: DriftSeries(array("d", TIMES), array("d", one)) for n, one in values.items()}

    assert judge(arrays) == judge(series(values))


def test_the_middle_mean_does_not_see_spikes() -> None:
    assert middle_mean([1.0, 2.0, 3.0, 1000.0]) == 2.5
    assert middle_mean([4.0]) == 4
