"""One metric of one device: what it finds, what it passes, and what it leaves open."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest

from cryofw.health import MetricContract, Shift, Worse
from cryofw.health.bound import BoundTest, bound_of
from cryofw.health.contract import Method
from cryofw.health.finding import finding_of
from cryofw.health.noise import NoiseTest
from cryofw.health.onset import Onset
from cryofw.health.rule import StreamRule, fine_threshold, look_level
from cryofw.health.stream import CalibrationStream

SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.5, reject=1.5)
RULE = StreamRule(SNR, 60, 20, 60, shift_threshold=400, noise_threshold=2000)


def a_stream(rule: StreamRule = RULE, seed: int = 1, sd: float = 0.4) -> CalibrationStream:
    """A stream with its baseline of 25 dB."""
    stream = CalibrationStream(rule, b"plan/snr", ("c1", "c2"))
    noise = random.Random(seed)
    for slot in range(rule.baseline_samples):
        stream.baseline(slot, noise.gauss(25, sd))
    stream.freeze()
    return stream


def soak(
    stream: CalibrationStream, count: int = 60, shift: float = 0.0, sd: float = 0.4, seed: int = 2
) -> None:
    noise = random.Random(seed)
    for slot in range(count):
        stream.observe(1000 + slot, noise.gauss(25 + shift, sd))


def test_a_firmware_as_good_as_before_passes_at_the_look_with_its_numbers() -> None:
    stream = a_stream()
    soak(stream)
    stream.look()
    finding = finding_of(stream)

    assert finding.shift is Shift.FINE
    assert "excludes 1.5 worse" in finding.reason
    evidence = finding.evidence
    assert evidence["controls"] == ["c1", "c2"]
    assert (evidence["n_before"], evidence["n_after"]) == (60, 60)
    assert evidence["e_needed"] == 400
    assert evidence["e_fine_needed"] == pytest.approx(fine_threshold(0.05))
    json.dumps(evidence, allow_nan=False)


def test_a_firmware_worse_than_the_margin_is_found_and_the_bet_is_explained() -> None:
    stream = a_stream()
    soak(stream, shift=-1.5)
    finding = finding_of(stream)

    assert finding.shift is Shift.REGRESSED
    assert "a 1-unit bet against the firmware grew to" in finding.reason
    assert "is beyond the margin 0.5" in finding.reason
    assert "at 400, which a good firmware reaches in 1 of 400 cases at most" in finding.reason


def test_better_or_worse_by_less_than_the_margin_is_no_failure() -> None:
    for shift in (2.0, 0.0, -0.4):
        stream = a_stream()
        soak(stream, shift=shift)
        assert stream.regressed == "", shift


def test_a_found_shift_stays_found() -> None:
    stream = a_stream()
    soak(stream, count=30, shift=-2)
    for slot in range(200):
        stream.observe(3000 + slot, 30.0)

    assert stream.regressed == "shift"


def test_too_few_samples_pass_nothing() -> None:
    stream = a_stream()
    soak(stream, count=19)
    stream.look()

    assert finding_of(stream).reason == "snr: only 19 of 20 samples"


def test_a_short_or_wild_baseline_passes_nothing() -> None:
    short = CalibrationStream(RULE, b"")
    for slot in range(59):
        short.baseline(slot, 25.0 + slot % 7)
    ramp = CalibrationStream(RULE, b"")
    for slot in range(60):
        ramp.baseline(slot, 25.0 + slot)
    for stream in (short, ramp):
        soak(stream)
        stream.look()
        assert finding_of(stream).shift is Shift.UNDECIDED
    assert "59 of 60 baseline" in finding_of(short).reason
    assert "longer baseline" in finding_of(ramp).reason


def test_worse_by_reject_is_excluded_only_when_it_is() -> None:
    """Between margin and reject, in noise that hides it: neither found nor passed."""
    stream = a_stream(sd=3.0)
    soak(stream, count=24, shift=-1.0, sd=3.0)
    stream.look()

    assert finding_of(stream).shift is Shift.UNDECIDED
    assert "does not exclude 1.5 worse" in finding_of(stream).reason


def test_a_firmware_worse_by_reject_rarely_passes() -> None:
    passed = 0
    for run in range(400):
        rule = replace(RULE, shift_threshold=1e12)  # the bet against it must not help here
        stream = CalibrationStream(rule, str(run).encode())
        noise = random.Random(run)
        for slot in range(60):
            stream.baseline(slot, noise.gauss(25, 0.4))
        for slot in range(60):
            stream.observe(100 + slot, noise.gauss(25 - 1.5, 0.4))
            if slot > 20:
                stream.look()
        passed += finding_of(stream).shift is Shift.FINE

    assert passed <= 0.05 * 400 + 9


def test_looks_are_planned_and_spend_beta_once() -> None:
    assert sum(look_level(0.05, look) for look in range(1, 50)) + 1 / fine_threshold(
        0.05
    ) == pytest.approx(0.05)
    stream = a_stream()
    soak(stream, count=20)
    for _ in range(100):
        stream.look()

    assert stream.state()["looks"][0] == 1


def test_noise_that_grows_without_a_shift_is_found() -> None:
    stream = a_stream()
    soak(stream, count=120, sd=1.6)
    finding = finding_of(stream)

    assert stream.regressed == "noise"
    assert "the noise of snr is" in finding.reason
    assert finding.evidence["noise_ratio"] == pytest.approx(4, rel=0.3)


def test_noise_is_blind_to_shifts_and_counts_all_samples() -> None:
    noise = random.Random(1)
    base = [noise.gauss(0, 1) for _ in range(100)]
    still, moved = NoiseTest(base, 1, 60, b""), NoiseTest(base, 1, 60, b"")
    for _ in range(60):
        value = noise.gauss(0, 1)
        still.observe(value)
        moved.observe(value + 64)  # a power of two: no rounding

    assert still.value == pytest.approx(moved.value)
    assert still.ratio == pytest.approx(1, abs=0.3)


def test_the_tighter_of_limit_and_golden_baseline_bounds() -> None:
    limited = replace(SNR, limit=20)

    assert bound_of(SNR) is None
    assert bound_of(limited) == -20
    assert bound_of(limited, 25.0) == -23.5, "golden 25 dB less reject 1.5"
    assert bound_of(replace(limited, limit=24), 25.0) == -24


def test_a_metric_beyond_its_limit_is_found_although_nothing_changed() -> None:
    """The baseline lies beyond the limit too: no shift, but never good."""
    rule = replace(RULE, metric=replace(SNR, limit=26), bound_threshold=4000)
    stream = a_stream(rule)
    soak(stream)
    stream.look()

    assert stream.regressed == "bound"
    assert "beyond 26 dB in 60 of 60 blocks" in finding_of(stream).reason


def test_small_losses_from_release_to_release_end_at_the_golden_baseline() -> None:
    rule = replace(RULE, golden=27.0, bound_threshold=4000)
    stream = a_stream(rule)
    soak(stream, shift=-0.3)

    assert stream.regressed == "bound"


def test_the_bound_looks_at_the_value_itself_not_at_the_difference() -> None:
    rule = replace(RULE, metric=replace(SNR, limit=20), bound_threshold=4000)
    stream = CalibrationStream(rule, b"", ("c1",))
    noise = random.Random(1)
    for slot in range(60):
        stream.baseline(slot, noise.gauss(0, 0.4))
    for slot in range(60):
        value = noise.gauss(0, 0.4)
        stream.observe(100 + slot, value, raw=25 + value)
    stream.look()

    assert finding_of(stream).shift is Shift.FINE


def test_the_bound_bets_are_fair_coins() -> None:
    for outside in (True, False):
        test = BoundTest(0.0)
        for value in (1.0, -1.0, -1.0):
            test.observe(value)
        up, down = BoundTest(0.0), BoundTest(0.0)
        up.restore(test.state())
        down.restore(test.state())
        up.observe(1.0)
        down.observe(-1.0)
        name = "beyond" if outside else "within"
        mean = (getattr(up, name) + getattr(down, name)) / 2
        stake = Onset(1).share(test.blocks + 1) if outside else 0.0
        assert mean == pytest.approx(getattr(test, name) + stake)


def test_late_repeated_and_non_finite_samples_change_nothing() -> None:
    clean, dirty = a_stream(), a_stream()
    noise = random.Random(9)
    for slot in range(60):
        value = noise.gauss(25, 0.4)
        clean.observe(1000 + slot, value)
        dirty.observe(1000 + slot, value)
        dirty.observe(1000 + slot, 99.0)
        dirty.observe(1000 + slot - 3, -99.0)
        dirty.observe(1001 + slot, math.nan)
        dirty.baseline(5000 + slot, -99.0)

    assert dirty.state() == clean.state()


@pytest.mark.parametrize("method", Method)
def test_a_stream_goes_on_exactly_where_it_was(method: Method) -> None:
    metric = replace(SNR, limit=20)
    rule = replace(RULE, metric=metric, method=method, golden=25.1, bound_threshold=4000)
    straight, broken = a_stream(rule), a_stream(rule)
    noise = random.Random(4)
    for slot in range(90):
        value = noise.gauss(24.6, 0.4)
        for stream in (straight, broken):
            stream.observe(100 + slot, value)
            if slot > 30:
                stream.look()
        saved = json.loads(json.dumps(broken.state(), allow_nan=False))
        broken = CalibrationStream.restore(rule, b"plan/snr", ("c1", "c2"), saved)

    assert broken.state() == straight.state()
    assert finding_of(broken) == finding_of(straight)


def test_a_baseline_half_taken_goes_on_too() -> None:
    stream = CalibrationStream(RULE, b"")
    for slot in range(30):
        stream.baseline(slot, float(slot % 5))
    saved = json.loads(json.dumps(stream.state()))
    again = CalibrationStream.restore(RULE, b"", (), saved)
    for each in (stream, again):
        for slot in range(20, 60):
            each.baseline(slot, float(slot % 7))
        each.freeze()
        soak(each, count=30)

    assert again.baseline_count == 60
    assert again.state() == stream.state()


def test_the_t_mixture_is_an_option() -> None:
    rule = replace(RULE, method=Method.T_MIXTURE)
    bad, good = a_stream(rule), a_stream(rule)
    soak(bad, shift=-2)
    soak(good)
    good.look()

    assert finding_of(bad).shift is Shift.REGRESSED
    assert finding_of(bad).evidence["rule"] == "t-mixture"
    assert finding_of(good).shift is Shift.FINE
