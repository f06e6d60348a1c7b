"""One device's watch: which readings pass, fail, or leave it open."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.health import (
    AlphaLedger,
    Cohort,
    CohortRule,
    DeviceWatch,
    EvidenceContract,
    Heartbeat,
    HeartbeatMissed,
    MetricContract,
    MetricSample,
    Outcome,
    Phase,
    Reading,
    StreamKind,
    Symptom,
    Verdict,
    Worse,
    reading_from_json,
    reading_to_json,
    wave_streams,
)

NEW, OLD = "aa" * 32, "bb" * 32
SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.5, reject=1.5, limit=20)
CONTRACT = EvidenceContract(
    soak_s=600,
    deadline_s=300,
    heartbeat_every_s=10,
    misses_allowed=2,
    sample_every_s=30,
    baseline_samples=100,
    min_samples=15,
    metrics=(SNR,),
)
BEATS_ONLY = replace(CONTRACT, metrics=())
BASE = 100


class Watched:
    """A device's watch and the cohort that it is alone in, put together as a rollout does."""

    def __init__(self, contract: EvidenceContract) -> None:
        self.contract = contract
        metrics = contract.metrics
        ledger = AlphaLedger.open(0.01, wave_streams(1, metrics))
        self.watch = DeviceWatch(contract, NEW, OLD, 60, ledger.threshold(StreamKind.HEARTBEAT))
        rule = CohortRule(
            "w", ("d",), (), metrics, 30, BASE, 15, contract.planned_samples, ledger, b"plan"
        )
        self.cohort = Cohort(rule)

    def begin(self, t_s: float, boot_id: int) -> None:
        self.watch.begin_soak(t_s, boot_id)
        self.cohort.begin("d", t_s + self.contract.settle_s)

    def observe(self, reading: Reading, phase: Phase | None = None) -> None:
        values = self.watch.observe(reading, phase)
        if isinstance(reading, MetricSample):
            self.cohort.observe("d", reading.t_s, values)
            if self.watch.soak_complete:
                self.cohort.look("d")

    def verdict(self) -> Verdict | None:
        return self.watch.verdict(self.cohort.findings("d"))

    @property
    def count(self) -> int:
        return self.cohort.streams("d")["snr"].count


def a_watch(contract: EvidenceContract = CONTRACT, seed: int = 1) -> Watched:
    """A watch with its baseline taken, soaking since t = 1000 in boot 7."""
    watch = Watched(contract)
    noise = random.Random(seed)
    for i in range(BASE):
        watch.observe(MetricSample(1000 - 30 * (BASE - i), {"snr": noise.gauss(25, 0.2)}, i))
    watch.begin(1000, 7)
    return watch


def soak(
    watch: Watched, seconds: int = 600, shift: float = 0.0, seed: int = 2, start: int = 0
) -> None:
    noise = random.Random(seed)
    for up_s in range(start, start + seconds + 10, 10):
        t_s = 1000 + up_s
        watch.observe(Heartbeat(t_s, NEW, 7, up_s * 1000))
        if up_s % 30 == 0:
            watch.observe(MetricSample(t_s + 1, {"snr": noise.gauss(25 + shift, 0.2)}, t_s))


def test_healthy_soak_passes_with_its_numbers() -> None:
    watch = a_watch()
    soak(watch)
    verdict = watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.PASSED
    metrics = verdict.evidence["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["snr"]["n_after"] >= CONTRACT.min_samples
    assert abs(metrics["snr"]["after"] - 25) < 0.2


def test_no_verdict_before_the_soak_is_over() -> None:
    watch = a_watch()
    soak(watch, 590)
    assert watch.verdict() is None


def test_a_shift_fails_long_before_the_soak_is_over() -> None:
    watch = a_watch()
    soak(watch, 200, shift=-2.0)
    verdict = watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.FAILED
    assert "(24.99 -> 22.96, n=6)" in verdict.reason
    assert "is beyond the margin" in verdict.reason


def test_an_improvement_is_not_a_failure() -> None:
    watch = a_watch()
    soak(watch, shift=+2.0)
    verdict = watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.PASSED


def test_a_late_shift_is_found_after_a_long_good_time() -> None:
    watch = a_watch()
    soak(watch, 600)
    soak(watch, 600, shift=-2.0, seed=3, start=620)
    verdict = watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.FAILED


def test_the_absolute_limit_holds_whatever_the_baseline_was() -> None:
    contract = replace(CONTRACT, metrics=(replace(SNR, limit=25.5, margin=3, reject=4),))
    watch = a_watch(contract)
    soak(watch, 600)
    verdict = watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.FAILED
    assert "lies beyond 25.5 dB" in verdict.reason


@pytest.mark.parametrize(
    ("reading", "symptom"),
    [
        (Heartbeat(1100, OLD, 8, 100), Symptom.REVERTED),
        (Heartbeat(1100, "cc" * 32, 8, 100), Symptom.WRONG_IMAGE),
        (Heartbeat(1100, NEW, 8, 100), Symptom.REBOOTED),
        (Heartbeat(1100, "", recovery=True), Symptom.IN_RECOVERY),
    ],
)
def test_one_look_suffices_for_a_fact(reading: Heartbeat, symptom: Symptom) -> None:
    watch = a_watch()
    soak(watch, 50)
    watch.observe(reading)
    assert watch.watch.symptom is symptom
    verdict = watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.FAILED
    assert verdict.evidence["symptom"] == symptom.value


def test_silence_is_a_matter_of_statistics() -> None:
    """A miss now and then is an accident; five in a row are none."""
    watch = a_watch(BEATS_ONLY)
    for i in range(20):
        watch.observe(Heartbeat(1010 + 10 * i, NEW, 7, 10_000 * i))
    watch.observe(HeartbeatMissed(1210, "timeout", 3))
    watch.observe(Heartbeat(1220, NEW, 7, 220_000))
    watch.observe(HeartbeatMissed(1230, "timeout", 3))
    assert watch.verdict() is None
    for i in range(4):
        watch.observe(HeartbeatMissed(1240 + 10 * i, "timeout", 3))
    assert watch.watch.symptom is Symptom.SILENT
    verdict = watch.verdict()
    assert verdict is not None
    assert "6 of 27 heartbeats missed, 18 retries: a 1-unit bet" in verdict.reason
    assert watch.watch.heartbeats.evidence()["retries"] == 18


def test_what_was_excused_counts_for_nothing() -> None:
    """A silence that the controls shared says nothing about the firmware."""
    watch = a_watch(BEATS_ONLY)
    for i in range(8):
        watch.observe(HeartbeatMissed(1010 + 10 * i, "hub gone"))
    assert watch.watch.symptom is Symptom.SILENT
    watch.watch.heartbeats.excuse()
    assert watch.watch.symptom is None
    assert watch.watch.heartbeats.evidence()["excused"] == 8
    for i in range(8):
        watch.observe(HeartbeatMissed(1100 + 10 * i, "its own"))
    assert watch.watch.symptom is Symptom.SILENT


def test_missing_and_not_a_number_never_pass() -> None:
    for values in ({}, {"snr": math.nan}, {"snr": math.inf}):
        watch = a_watch()
        for up_s in range(0, 1000, 10):
            watch.observe(Heartbeat(1000 + up_s, NEW, 7, up_s * 1000))
            watch.observe(MetricSample(1000 + up_s + 1, values, up_s))
        verdict = watch.verdict()
        assert verdict is not None
        assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_stale_sample_counts_once() -> None:
    watch = a_watch()
    for i in range(50):
        watch.observe(MetricSample(1031 + 30 * i, {"snr": 25.0}, 4711))
    assert watch.count == 1


def test_the_host_clock_does_not_shorten_a_soak() -> None:
    watch = a_watch(BEATS_ONLY)
    watch.observe(Heartbeat(1010, NEW, 7, 10_000))
    watch.observe(Heartbeat(99_000, NEW, 7, 20_000))
    assert watch.watch.heartbeats.soaked_s == 10
    assert watch.verdict() is not None  # late, so it is held, not passed
    assert watch.verdict().outcome is Outcome.INCONCLUSIVE  # type: ignore[union-attr]  # just asserted


def test_uptime_alone_is_no_soak_without_fresh_heartbeats() -> None:
    watch = a_watch(BEATS_ONLY)
    watch.observe(Heartbeat(1010, NEW, 7, 0))
    watch.observe(Heartbeat(1620, NEW, 7, 610_000))
    assert not watch.watch.soak_complete


def test_a_device_without_uptime_soaks_by_near_heartbeats() -> None:
    watch = a_watch(BEATS_ONLY)
    for t_s in range(1000, 1610, 10):
        watch.observe(Heartbeat(t_s, NEW))
    assert watch.watch.heartbeats.soaked_s == 600
    watch.observe(Heartbeat(5000, NEW))
    assert watch.watch.heartbeats.soaked_s == 600


readings = st.one_of(
    st.builds(
        Heartbeat,
        st.floats(1000, 1e6),
        st.sampled_from([NEW, OLD]),
        st.sampled_from([7, 8, None]),
        st.integers(0, 10**7) | st.none(),
    ),
    st.builds(HeartbeatMissed, st.floats(1000, 1e6), st.just("timeout")),
    st.builds(
        MetricSample,
        st.floats(1000, 1e6),
        st.dictionaries(st.just("snr"), st.floats(-1e6, 1e6) | st.just(math.nan)),
        st.integers(0, 10**6) | st.none(),
    ),
)


@given(st.lists(readings, max_size=60))
def test_nothing_passes_with_fewer_samples_than_the_guard(sequence: list[Reading]) -> None:
    watch = a_watch()
    for reading in sequence:
        watch.observe(reading)
        verdict = watch.verdict()
        if verdict is not None and verdict.outcome is Outcome.PASSED:
            assert watch.count >= CONTRACT.min_samples
            assert watch.watch.heartbeats.beats >= CONTRACT.min_beats
            assert watch.watch.heartbeats.soaked_s >= CONTRACT.soak_s


@given(st.lists(readings, max_size=30), st.randoms(use_true_random=False))
def test_late_and_repeated_readings_change_nothing(
    sequence: list[Reading], chance: random.Random
) -> None:
    ordered = sorted(sequence, key=lambda r: r.t_s)
    once, twice = a_watch(), a_watch()
    for i, reading in enumerate(ordered):
        once.observe(reading)
        twice.observe(reading)
        twice.observe(ordered[chance.randrange(i + 1)])
    assert once.verdict() == twice.verdict()


@given(readings)
def test_readings_survive_json(reading: Reading) -> None:
    again = reading_from_json(reading_to_json(reading))
    assert reading_to_json(again) == reading_to_json(reading)


def test_a_metric_that_nobody_judged_never_passes() -> None:
    watch = a_watch()
    soak(watch)
    assert (passed := watch.verdict()) is not None
    assert passed.outcome is Outcome.PASSED
    verdict = watch.watch.verdict()
    assert verdict is not None
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "snr: nobody judged it"


def test_an_absurd_number_is_no_number() -> None:
    assert MetricSample(1, {"snr": 1e200}).fresh("snr") is None
    assert MetricSample(1, {"snr": -1e99}).fresh("snr") == -1e99


def test_nothing_is_judged_while_the_device_settles() -> None:
    watch = a_watch(replace(CONTRACT, settle_s=300))
    soak(watch, 200, shift=-5.0)
    assert watch.count == 0
    assert watch.verdict() is None
