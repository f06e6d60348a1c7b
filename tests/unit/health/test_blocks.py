"""Block lengths from a baseline."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from cryofw.health.blocks import (
    LEAST_BLOCKS,
    autocorrelation,
    block_deviation,
    block_length,
    block_means,
    choose_length,
    expected_length,
    shared_length,
)


def series(noise: random.Random, count: int, rho: float) -> list[float]:
    values = [noise.gauss(0, 1)]
    for _ in range(count - 1):
        values.append(rho * values[-1] + math.sqrt(1 - rho * rho) * noise.gauss(0, 1))
    return values


@pytest.mark.parametrize(("rho", "length"), [(0, 1), (0.2, 2), (0.5, 3), (0.8, 9), (0.9, 19)])
def test_the_rule(rho: float, length: int) -> None:
    assert block_length(rho) == length


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_autocorrelation_is_nearly_unbiased(rho: float) -> None:
    noise = random.Random(1)
    mean = statistics.fmean(autocorrelation(series(noise, 100, rho)) for _ in range(300))

    assert mean == pytest.approx(rho, abs=0.03)


def test_a_constant_or_tiny_baseline_has_no_autocorrelation() -> None:
    assert autocorrelation([20.1] * 50) == 0
    assert autocorrelation([1.0, 2.0]) == 0


def test_block_means_leave_the_rest_at_the_old_end() -> None:
    assert block_means([1, 2, 3, 4, 5], 2) == [2.5, 4.5]
    assert block_means([1, 2, 3], 1) == [1, 2, 3]


@pytest.mark.parametrize(("rho", "length"), [(0, 4), (0.5, 3), (0.8, 9)])
def test_the_deviation_of_a_block_mean(rho: float, length: int) -> None:
    noise = random.Random(6)
    means = block_means(series(noise, 60_000, rho), length)

    assert statistics.stdev(means) == pytest.approx(block_deviation(rho, length), rel=0.05)


def test_independent_baselines_mostly_keep_single_samples() -> None:
    noise = random.Random(2)
    lengths = [choose_length(series(noise, 100, 0)) for _ in range(200)]

    assert lengths.count(1) > 160


def test_a_slow_noise_on_top_of_a_fast_one_gets_longer_blocks() -> None:
    """Its first lag tells rho .45 and so blocks of three, but it lasts for twenty samples."""
    noise = random.Random(9)
    lengths = []
    for _ in range(50):
        slow = series(noise, 200, 0.9)
        lengths.append(choose_length([0.7 * s + 0.7 * noise.gauss(0, 1) for s in slow]))

    assert statistics.median(lengths) >= 6


def test_too_few_blocks_judge_nothing() -> None:
    noise = random.Random(3)

    assert choose_length([1.0, 2.0, 3.0]) == 0
    assert choose_length([float(i) for i in range(100)]) == 0, "a ramp"
    assert choose_length(series(noise, 40, 0.95)) == 0
    for _ in range(50):
        length = choose_length(series(noise, 120, 0.85))
        assert length == 0 or 120 // length >= LEAST_BLOCKS


def test_a_wave_shares_what_its_baselines_say_together() -> None:
    noise = random.Random(4)
    wave = [series(noise, 100, 0.5) for _ in range(10)]
    shared = shared_length(wave)

    assert 4 <= shared <= 8
    assert min(choose_length(values, shared) for values in wave) >= shared
    assert shared_length([series(noise, 100, 0) for _ in range(10)]) <= 2


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.7, 0.8])
def test_the_expected_length_is_what_waves_choose(rho: float) -> None:
    noise = random.Random(12)
    shared = shared_length([series(noise, 200, rho) for _ in range(60)])

    assert expected_length(200, rho) == pytest.approx(min(shared, 200 // LEAST_BLOCKS), abs=2)


def test_no_length_is_expected_where_none_will_do() -> None:
    assert expected_length(5, 0.0) == 0
    assert expected_length(40, 0.8) == 0
    assert expected_length(60, 0.8) == 0, "too short to be stretched"
    assert expected_length(100, 0.97) == 0
