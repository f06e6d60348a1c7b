"""Each measurement counts once, and what device and lab say grows stale apart."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from cryofw.health import (
    DeviceWatch,
    EvidenceContract,
    FreshValues,
    Heartbeat,
    LabValue,
    MetricContract,
    MetricSample,
    Worse,
    reading_from_json,
    reading_to_json,
)


def test_a_stale_device_hides_no_value_of_the_lab_and_the_other_way_round() -> None:
    fresh = FreshValues()
    first = MetricSample(100, {"snr": 25.0}, 7, {"gain": LabValue(3.0, 95, 1095)})
    assert fresh.take(first) == {"snr": 25.0, "gain": 3.0}
    device_stuck = MetricSample(110, {"snr": 25.0}, 7, {"gain": LabValue(3.1, 105, 1105)})
    assert fresh.take(device_stuck) == {"gain": 3.1}
    lab_stuck = MetricSample(120, {"snr": 24.9}, 8, {"gain": LabValue(3.1, 105.2, 1105)})
    assert fresh.take(lab_stuck) == {"snr": 24.9}
    assert fresh.take(MetricSample(130, {"snr": 24.9}, 8)) == {}


def test_a_sample_of_the_lab_alone_makes_no_device_fresh() -> None:
    fresh = FreshValues()
    fresh.take(MetricSample(1, {"snr": 25.0}, 7))
    assert fresh.take(MetricSample(2, lab={"gain": LabValue(3.0, 2)})) == {"gain": 3.0}
    assert fresh.take(MetricSample(3, {"snr": 25.0}, 7)) == {}


def test_a_source_without_a_clock_measures_anew_each_time() -> None:
    fresh = FreshValues()
    assert fresh.take(MetricSample(1, lab={"gain": LabValue(3.0, 1)})) == {"gain": 3.0}
    assert fresh.take(MetricSample(2, lab={"gain": LabValue(3.0, 2)})) == {"gain": 3.0}
    assert fresh.take(MetricSample(3, lab={"gain": LabValue(3.0, 2)})) == {}


def test_what_was_measured_before_the_boot_tells_nothing_of_the_new_firmware() -> None:
    fresh = FreshValues()
    sample = MetricSample(110, {"snr": 25.0}, 7, {"gain": LabValue(3.0, 95, 1095)})
    assert fresh.take(sample, after_s=100) == {"snr": 25.0}
    assert fresh.take(MetricSample(99, {"snr": 25.0}, 8), after_s=100) == {}
    # Seen once, it does not come back when the bound is another.
    assert fresh.take(MetricSample(120, lab={"gain": LabValue(3.0, 95, 1095)})) == {}


def test_what_is_no_number_does_not_count() -> None:
    sample = MetricSample(1, {"snr": math.nan}, 7, {"gain": LabValue(math.inf, 1)})
    assert FreshValues().take(sample) == {}


@given(st.lists(st.integers(0, 5), max_size=30))
def test_late_and_repeated_samples_count_once(times: list[int]) -> None:
    fresh = FreshValues()
    taken = [
        t_s
        for t_s in times
        if fresh.take(MetricSample(t_s, {"snr": 1.0}, t_s, {"gain": LabValue(2.0, t_s)}))
    ]
    assert taken == sorted(set(taken))


def test_a_sample_survives_its_line() -> None:
    sample = MetricSample(
        5.5,
        {"snr": 25.0},
        11,
        {"gain": LabValue(3.0, 4.5, 1004.5), "own": LabValue(2.0, 5.5)},
        {"noise": "stale: 90 s old, more than 60 s"},
    )
    assert reading_from_json(json.loads(json.dumps(reading_to_json(sample)))) == sample
    broken = MetricSample(5, lab={"gain": LabValue(math.nan, 5)})
    again = reading_from_json(json.loads(json.dumps(reading_to_json(broken))))
    assert isinstance(again, MetricSample)
    assert math.isnan(again.lab["gain"].value)


def test_a_line_of_a_device_alone_is_what_it_always_was() -> None:
    line = '{"t": 5.0, "m": {"snr": 25.0, "enob": null}, "ms": 11}'
    assert json.dumps(reading_to_json(reading_from_json(json.loads(line)))) == line


def a_watch(settle_s: float = 30.0) -> DeviceWatch:
    metrics = tuple(MetricContract(n, "dB", Worse.LOWER, 0.5, 1.5) for n in ("snr", "gain"))
    contract = EvidenceContract(100, 300, 10, 2, 10, 20, 20, metrics, settle_s)
    return DeviceWatch(contract, "aa", "bb")


def test_a_watch_takes_what_was_measured_after_the_boot_and_the_calibration() -> None:
    watch = a_watch()
    before = MetricSample(900, {"snr": 25.0}, 1, {"gain": LabValue(3.0, 895, 895)})
    assert watch.observe(before) == {"snr": 25.0, "gain": 3.0}
    assert not watch.settled
    watch.begin_soak(1000, 7)
    late = MetricSample(1035, {"snr": 25.0}, 2, {"gain": LabValue(3.0, 1025, 1025)})
    assert watch.observe(late) == {"snr": 25.0}, "the lab's is of a firmware that had not settled"
    assert watch.settled
    watch.calibrated(1080)
    assert watch.observe(MetricSample(1079, {"snr": 25.0}, 3)) == {}
    after = MetricSample(1090, {"snr": 25.0}, 4, {"gain": LabValue(3.0, 1079, 1079)})
    assert watch.observe(after) == {"snr": 25.0}
    assert watch.observe(MetricSample(1100, lab={"gain": LabValue(3.1, 1081, 1081)})) == {
        "gain": 3.1
    }


def test_a_soak_lasts_longer_by_its_calibration() -> None:
    for took_s in (0, 50):
        watch = a_watch()
        watch.begin_soak(1000, 7)
        if took_s:
            watch.calibrated(1030 + took_s)
        done_s = next(
            t_s
            for t_s in range(0, 500, 10)
            if (watch.observe(Heartbeat(1000 + t_s, "aa", 7, t_s * 1000)), watch.soak_complete)[1]
        )
        assert done_s == 100 + took_s


def test_a_watch_knows_why_its_latest_sample_had_no_value() -> None:
    watch = a_watch()
    watch.observe(MetricSample(1, gaps={"gain": "stale: 90 s old"}))
    assert watch.gaps == {"gain": "stale: 90 s old"}
    watch.observe(MetricSample(2, {"snr": 25.0}, 2))
    assert watch.gaps == {}
