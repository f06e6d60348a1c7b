"""Whatever comes in: nothing passes on too little, and disorder changes no verdict."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.health import MetricContract, Shift, Worse
from cryofw.health.cohort import Cohort
from cryofw.health.finding import finding_of
from cryofw.health.ledger import AlphaLedger
from cryofw.health.rule import CohortRule, StreamRule, wave_streams
from cryofw.health.shift import ShiftTest, usable
from cryofw.health.stream import CalibrationStream

METRIC = MetricContract("snr", "dB", Worse.HIGHER, margin=0.1, reject=1.0, limit=50.0)
GUARD = 8
BASELINE = 24

values = st.one_of(
    st.floats(-3, 3),
    st.sampled_from([0.0, 0.1, 1.0, math.nan, math.inf, -math.inf, 1e300, -1e300]),
)
# Exact in binary: adding one keeps their order and their ties.
quarters = st.integers(-20, 20).map(lambda n: n / 4)
samples = st.lists(st.tuples(st.integers(0, 80), values), max_size=120)


def a_stream(before: list[float]) -> CalibrationStream:
    rule = StreamRule(METRIC, BASELINE, GUARD, 60, 400.0, 2000.0, 4000.0)
    stream = CalibrationStream(rule, b"seed")
    for slot, value in enumerate(before):
        stream.baseline(slot - 1000, value)
    return stream


@given(st.lists(values, max_size=40), samples)
@settings(max_examples=300, deadline=None)
def test_nothing_passes_below_the_guards(
    before: list[float], after: list[tuple[int, float]]
) -> None:
    stream = a_stream(before)
    stream.freeze()
    for slot, value in after:
        stream.observe(slot, value)
        stream.look()
    fresh_before = sum(map(usable, before))
    fresh_after = len({slot for slot, value in after if usable(value)})

    if finding_of(stream).shift is Shift.FINE:
        assert fresh_before >= BASELINE
        assert fresh_after >= GUARD


@given(st.lists(st.floats(-1, 1), min_size=BASELINE, max_size=40), st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_missing_data_never_passes(before: list[float], missing: int) -> None:
    stream = a_stream(before)
    stream.freeze()
    for slot in range(missing):
        stream.observe(slot, math.nan)
        stream.look()

    assert finding_of(stream).shift is not Shift.FINE


@given(st.lists(st.floats(-1, 1), min_size=BASELINE, max_size=30), samples, st.data())
@settings(max_examples=150, deadline=None)
def test_late_and_repeated_samples_change_no_verdict(
    before: list[float], after: list[tuple[int, float]], data: st.DataObject
) -> None:
    clean, dirty = a_stream(before), a_stream(before)
    newest = -1
    for slot, value in sorted(after, key=lambda pair: pair[0]):
        clean.observe(slot, value)
        dirty.observe(slot, value)
        if usable(value):
            newest = max(newest, slot)
        if newest >= 0:
            late = data.draw(st.tuples(st.integers(0, newest), values))
            dirty.observe(*late)

    assert dirty.state() == clean.state()
    assert finding_of(dirty) == finding_of(clean)


@given(st.lists(quarters, min_size=8, max_size=40), st.lists(quarters))
@settings(max_examples=150, deadline=None)
def test_a_worse_series_never_makes_the_bet_poorer(base: list[float], after: list[float]) -> None:
    """The bet is monotone: adding harm to every sample pays at least as much."""
    light = ShiftTest(base, ((0.0, 1),), 40, b"s", length=1)
    heavy = ShiftTest(base, ((0.0, 1),), 40, b"s", length=1)
    for value in after:
        light.observe(value)
        heavy.observe(value + 1.0)
        assert heavy.wagers[0].value >= light.wagers[0].value * (1 - 1e-9)


# --- a whole wave ---------------------------------------------------------------------------

RULE = CohortRule(
    "w", ("d0", "d1"), ("c0", "c1", "c2"), (METRIC,), 1.0, BASELINE, GUARD, 40,
    AlphaLedger.open(0.05, wave_streams(2, (METRIC,))), b"plan",
)  # fmt: skip
NAMES = (*RULE.devices, *RULE.controls)

reports = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 40), values), max_size=200)


def a_cohort() -> Cohort:
    cohort = Cohort(RULE)
    for t in range(BASELINE):
        for i, name in enumerate(NAMES):
            cohort.observe(name, t, {"snr": math.sin(7 * t + 3 * i)})
    for device in RULE.devices:
        cohort.begin(device, BASELINE - 0.5)
    return cohort


@given(reports)
@settings(max_examples=100, deadline=None)
def test_a_replay_of_the_same_reports_gives_the_same_findings(
    after: list[tuple[str, int, float]],
) -> None:
    first, again = a_cohort(), a_cohort()
    for cohort in (first, again):
        for name, t, value in after:
            cohort.observe(name, BASELINE + t, {"snr": value})
    for device in RULE.devices:
        assert first.findings(device, soaked=True) == again.findings(device, soaked=True)


@given(reports)
@settings(max_examples=100, deadline=None)
def test_a_device_of_a_wave_needs_its_own_samples_and_its_controls(
    after: list[tuple[str, int, float]],
) -> None:
    cohort = a_cohort()
    fresh: dict[str, set[int]] = {name: set() for name in NAMES}
    for name, t, value in after:
        cohort.observe(name, BASELINE + t, {"snr": value})
        if usable(value):
            fresh[name].add(t)
    for device in RULE.devices:
        paired = [t for t in fresh[device] if sum(t in fresh[c] for c in RULE.controls) >= 2]
        for finding in cohort.findings(device, soaked=True):
            if finding.shift is Shift.FINE:
                assert len(paired) >= GUARD
            assert cohort.streams(device)["snr"].count <= len(paired)


@given(reports, st.data())
@settings(max_examples=60, deadline=None)
def test_repeated_reports_change_no_finding(
    after: list[tuple[str, int, float]], data: st.DataObject
) -> None:
    clean, dirty = a_cohort(), a_cohort()
    seen: dict[str, int] = {}
    for name, t, value in sorted(after, key=lambda report: report[1]):
        for cohort in (clean, dirty):
            cohort.observe(name, BASELINE + t, {"snr": value})
        seen[name] = BASELINE + t
        echo = data.draw(st.sampled_from(sorted(seen)))
        earlier = data.draw(st.integers(0, seen[echo]))
        dirty.observe(echo, earlier, {"snr": data.draw(values)})
    for device in RULE.devices:
        assert clean.findings(device, soaked=True) == dirty.findings(device, soaked=True)
