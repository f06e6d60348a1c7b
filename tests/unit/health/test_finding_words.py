"""What findings say to people: since when, how much, how sure, and the same in short."""

from __future__ import annotations

import json
import math
import random

import pytest

from cryofw.health import BeatTest, MetricContract, MetricFinding, Shift, Worse, finding_of
from cryofw.health.excursion import Excursion
from cryofw.health.figure import figure, one_in, signed
from cryofw.health.finding import bet_words, compared_words, in_short
from cryofw.health.pool import Pool
from cryofw.health.rule import StreamRule
from cryofw.health.stream import CalibrationStream

SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.5, reject=1.5)
RULE = StreamRule(SNR, 100, 20, 120, shift_threshold=11636, noise_threshold=40000)


def drifting(after: int, controls: tuple[str, ...] = ("c1", "c2")) -> CalibrationStream:
    """A stream of 25 dB that falls by 2 dB once `after` samples were good."""
    stream, noise = CalibrationStream(RULE, b"plan/snr", controls), random.Random(5)
    for slot in range(100):
        stream.baseline(slot, noise.gauss(25, 0.2))
    stream.freeze()
    slot = 100
    while not stream.regressed:
        level = 25.0 if slot < 100 + after else 23.0
        stream.observe(slot, noise.gauss(level, 0.2))
        slot += 1
    return stream


def test_a_late_shift_is_told_by_its_size_and_not_diluted_by_the_good_time_before() -> None:
    stream = drifting(after=60)
    reason = finding_of(stream).reason
    count, level = stream.beyond

    assert abs(stream.after - stream.before) < SNR.margin  # which would read like a mistake
    assert level == pytest.approx(23, abs=0.3)
    assert count == stream.count - 60
    assert f"-> {level:.4g}, last {count} of {stream.count} samples) is beyond the margin" in reason


def test_a_shift_from_the_first_sample_on_needs_no_since() -> None:
    stream = drifting(after=0)
    assert f", n={stream.count}) is beyond the margin" in finding_of(stream).reason


def test_since_when_survives_a_resume() -> None:
    stream = drifting(after=30)
    saved = json.loads(json.dumps(stream.state()))
    again = CalibrationStream.restore(RULE, b"plan/snr", ("c1", "c2"), saved)
    assert again.beyond == stream.beyond


def test_a_pool_tells_the_shift_since_it_began() -> None:
    noise = random.Random(2)
    base = {m: {s: noise.gauss(25, 0.2) for s in range(100)} for m in ("a", "b")}
    pool = Pool(SNR, base, 120, 1000.0, b"pool")
    index = 0
    while not pool.regressed:
        for member in base:
            pool.observe(member, index, noise.gauss(25.0 if index < 40 else 23.5, 0.2))
        index += 1
    reason = pool.finding().reason
    assert f"snr -1.48 dB over 2 devices (last {index - 40} of {index} samples)" in reason


def test_an_excursion_ends_where_its_mean_falls_back() -> None:
    run = Excursion(1.0)
    for value in (0.0, 3.0, 2.0):
        run.observe(value)
    assert (run.count, run.mean) == (2, 2.5)
    run.observe(-9.0)
    assert (run.count, run.mean) == (0, 1.0)


def test_in_short_leaves_out_odds_and_details_also_of_older_journals() -> None:
    new = finding_of(drifting(after=60)).reason
    alone = finding_of(drifting(after=60, controls=())).reason
    old = (
        "snr -0.289 dB against c4-c, c3-c (26.73 -> 26.44, n=50) is beyond the margin 0.5; a "
        "1-unit bet against the firmware grew to 1.067e+05 units; were the firmware fine, it "
        "would ever reach 1.164e+04 with probability 8.6e-05 at most"
    )
    for reason in (new, alone):
        assert in_short(reason).startswith("snr -2")
        assert in_short(reason).endswith(" dB is beyond the margin 0.5 dB")
    assert in_short(old) == "snr -0.289 dB is beyond the margin 0.5"
    assert in_short(f"a rolled-back: {old}; b rolled-back: {old}") == (
        "a rolled-back: snr -0.289 dB is beyond the margin 0.5; "
        "b rolled-back: snr -0.289 dB is beyond the margin 0.5"
    )
    silent = BeatTest(100, 20.0)
    for _ in range(4):
        silent.observe(answered=False, retries=2)
    assert in_short(f"rig-a: silent: {silent.words()}; the last one: no answer") == (
        "rig-a: silent: 4 of 4 heartbeats missed, 8 retries; the last one: no answer"
    )
    assert in_short("silent: 3 of 9 (x); a person -> asked") == (
        "silent: 3 of 9 (x); a person -> asked"
    )


def test_what_passed_names_shifts_samples_and_controls_in_one_line() -> None:
    def one(name: str, after: float, controls: list[str]) -> MetricFinding:
        evidence = {"before": 25.0, "after": after, "sd": 0.2, "n_before": 100, "n_after": 120,
                    "unit": "dB", "controls": controls}  # fmt: skip
        return MetricFinding(name, Shift.FINE, "", evidence)

    assert compared_words([one("a", 24.98, ["c2", "c1"]), one("b", 25.0011, ["c1"])]) == (
        "a -0.02 dB, b +0.00 dB (n=120) against c1, c2"
    )
    many = compared_words([one(name, 25.0, []) for name in "abcdef"])
    assert many.endswith("d +0.00 dB and 2 more (n=120) against their own baselines")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (106661.0, "107,000"), (11636.4, "11,600"), (999.6, "1,000"), (0.000221828, "0.000222"),
        (1e280, "more than 1,000,000,000"), (-1e12, "less than -1,000,000,000"),
        (math.nan, "?"), (400.0, "400"), (0.0, "0"),
    ],
)  # fmt: skip
def test_figures_are_written_out(value: float, text: str) -> None:
    assert figure(value) == text


def test_odds_and_signed_differences() -> None:
    assert one_in(8.594e-05) == "1 in 11,600"
    assert one_in(0.0) == "never"
    assert signed(-0.0001, 0.03) == "+0.00"
    assert signed(0.0143, 0.0047) == "+0.014"
    assert signed(12.34, 3.0) == "+12"
    assert signed(0.5) == "+0.5"
    assert signed(math.inf) == "?"
    assert "grew to 107,000 units; the alarm is at 11,600" in bet_words(106661.0, 11636.4)
