"""What a contract can see, and that it is what the streams then do."""

from __future__ import annotations

import random
import time

import pytest

from cryofw.health import MetricContract, Worse
from cryofw.health.rule import StreamRule
from cryofw.health.sight import Sight, judged_deviation, sight
from cryofw.health.stream import CalibrationStream

SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.5, reject=1.5)


def test_nine_of_ten_shifts_of_that_size_are_found_and_smaller_ones_are_not() -> None:
    seen = sight(100, 60, 2000)
    assert seen.finds is not None
    found = {}
    for factor in (0.6, 1.0):
        shift = SNR.margin + factor * seen.finds
        hits = 0
        for run in range(300):
            noise = random.Random(run)
            stream = CalibrationStream(StreamRule(SNR, 100, 20, 60, 2000), str(run).encode())
            for slot in range(100):
                stream.baseline(slot, noise.gauss(0, 1))
            for slot in range(60):
                stream.observe(100 + slot, noise.gauss(-shift, 1))
            hits += stream.regressed == "shift"
        found[factor] = hits / 300

    assert found[1.0] == pytest.approx(0.9, abs=0.07)
    assert found[0.6] < 0.65


def test_more_evidence_sees_more() -> None:
    def finds(*plan: float, rho: float = 0.0) -> float:
        seen = sight(int(plan[0]), int(plan[1]), plan[2], rho)
        assert seen.finds is not None
        return seen.finds

    assert finds(100, 60, 2000) < finds(30, 60, 2000)
    assert finds(100, 60, 2000) < finds(100, 20, 2000)
    assert finds(100, 60, 200) < finds(100, 60, 20_000)
    assert finds(100, 60, 200) < finds(100, 60, 200, rho=0.5)


def test_a_contract_that_cannot_see_its_reject_is_refused_with_the_numbers() -> None:
    seen = sight(100, 60, 2000)

    assert seen.refusal(SNR, 0.3) == ""
    assert "smallest shift found in 90 % of cases is" in seen.refusal(SNR, 2.0)
    assert "reject is 1.5" in seen.refusal(SNR, 2.0)


def test_a_contract_that_can_clear_nobody_is_refused() -> None:
    blurred = Sight(0.1, 4.0, 1, 100, 60)

    assert "cleared of 2 dB worse at best" in blurred.refusal(SNR, 0.5)


@pytest.mark.parametrize("plan", [(20, 5, 1e6, 0.0), (20, 120, 1000, 0.8), (100, 8, 1000, 0.8)])
def test_a_plan_that_sees_nothing_says_so(plan: tuple[int, int, float, float]) -> None:
    seen = sight(*plan)

    assert seen.finds is None
    assert seen.smallest_shift(SNR, 0.1) is None
    assert "see no shift at all" in seen.refusal(SNR, 0.1)


def test_shared_controls_do_not_average_out() -> None:
    assert judged_deviation(1, 0) == 1
    assert judged_deviation(1, 1) == pytest.approx(2**0.5)
    assert judged_deviation(1, 3, devices=10) == pytest.approx((1 / 10 + 1 / 3) ** 0.5)


def test_it_is_quick_enough_for_a_plan_and_always_says_the_same() -> None:
    started = time.process_time()
    first = [sight(100, 121, threshold) for threshold in (900.0, 9_000.0, 90_000.0)]

    assert time.process_time() - started < 3, "a third of a second each where it is idle"
    assert first == [sight(100, 121, threshold) for threshold in (900.0, 9_000.0, 90_000.0)]
