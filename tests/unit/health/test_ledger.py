"""One alpha over all streams and attempts, and the heartbeats' part of it."""

from __future__ import annotations

import json
import random
from dataclasses import asdict

import pytest

from cryofw.health.beats import BeatTest
from cryofw.health.contract import MetricContract, Worse
from cryofw.health.ledger import AlphaLedger, StreamKind
from cryofw.health.rule import wave_streams

METRICS = tuple(MetricContract(n, "dB", Worse.LOWER, 0.5, 1.5) for n in "abcd")


def a_ledger() -> AlphaLedger:
    return AlphaLedger.open(0.01, wave_streams(10, METRICS) + wave_streams(1, METRICS))


def test_all_streams_and_attempts_together_spend_at_most_false_rollback() -> None:
    ledger = a_ledger()
    spent = sum(
        count * ledger.spends(StreamKind(kind), attempt)
        for kind, count in ledger.streams.items()
        for attempt in range(1, 60)
    )

    assert spent == pytest.approx(0.01)
    assert spent <= 0.01 + 1e-15
    assert ledger.total(1) == pytest.approx(0.0075)


def test_a_new_attempt_refunds_nothing() -> None:
    ledger = a_ledger()

    assert ledger.threshold(StreamKind.SHIFT, 2) == pytest.approx(
        4 * ledger.threshold(StreamKind.SHIFT)
    )


def test_every_kind_of_stream_is_counted() -> None:
    limited = (MetricContract("a", "dB", Worse.LOWER, 0.5, 1.5, limit=20),)

    assert wave_streams(2, limited).count(StreamKind.BOUND) == 2
    assert wave_streams(1, METRICS).count(StreamKind.POOLED) == 0
    assert wave_streams(1, METRICS, golden=True).count(StreamKind.BOUND) == 4
    assert a_ledger().streams == {
        "heartbeat": 11, "noise": 44, "pooled": 4, "shift": 44,
    }  # fmt: skip


def test_a_kind_without_a_stream_leaves_its_share_to_the_others() -> None:
    beats = AlphaLedger.open(0.01, [StreamKind.HEARTBEAT] * 5)

    assert beats.alpha == {"heartbeat": pytest.approx(0.002)}
    with pytest.raises(KeyError):
        beats.threshold(StreamKind.SHIFT)


def test_it_survives_the_plan_exactly() -> None:
    from pydantic import TypeAdapter

    ledger = a_ledger()
    data = json.dumps(asdict(ledger)).encode()

    assert TypeAdapter(AlphaLedger).validate_json(data) == ledger


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0])
def test_an_impossible_budget_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        AlphaLedger.open(alpha, [StreamKind.HEARTBEAT])


# --- heartbeats -----------------------------------------------------------------------------


def test_five_misses_in_a_row_with_the_numbers_of_the_research() -> None:
    """N = 1800 planned beats, K = 200 streams, alpha 1 %: S of the recipe passes N K / alpha."""
    test = BeatTest(1800, 200 / 0.01)
    for _ in range(300):
        test.observe(answered=True)

    assert test.misses_in_a_row() == 5
    for count in range(1, 6):
        assert not test.alarmed, count
        test.observe(answered=False)
    assert test.alarmed


def test_the_wealth_is_shiryaev_roberts_over_the_planned_beats() -> None:
    noise = random.Random(1)
    test, classic = BeatTest(1000, 1e6), 0.0
    for _ in range(1000):
        answered = noise.random() > 0.05
        test.observe(answered=answered)
        classic = (1 + classic) * ((0.5 / 0.99) if answered else 50)
        assert test.value == pytest.approx(0.9 * classic / 1000)


def test_occasional_misses_never_roll_back_and_retries_are_counted() -> None:
    noise = random.Random(3)
    alarms = 0
    for _ in range(200):
        test = BeatTest(1800, 100)
        for _ in range(1800):
            test.observe(answered=noise.random() > 0.01, retries=1)
        alarms += test.alarmed
    assert alarms <= 6, "1 % of 200 is 2"
    assert test.retries == 1800
    assert "1800 retries" in test.words()


def test_a_device_that_misses_every_third_beat_is_found() -> None:
    test = BeatTest(360, 1e5)
    beats = 0
    while not test.alarmed and beats < 360:
        test.observe(answered=beats % 3 != 2)
        beats += 1

    assert beats < 40


def test_beats_beyond_the_plan_are_still_watched_and_the_state_goes_on() -> None:
    test = BeatTest(10, 1e4)
    for _ in range(500):
        test.observe(answered=True)
    again = BeatTest(10, 1e4)
    again.restore(json.loads(json.dumps(test.state())))
    for _ in range(12):
        test.observe(answered=False, retries=3)
        again.observe(answered=False, retries=3)

    assert test.alarmed
    assert again.state() == test.state()
