"""The rank-sum look and the t-mixture, against scipy."""

from __future__ import annotations

import importlib
import json
import math
import random

import numpy as np
import pytest

from cryofw.health.ranksum import lower_p
from cryofw.health.tmixture import EFFECTS, TMixture, log_ratio

stats = importlib.import_module("scipy.stats")


@pytest.mark.parametrize(("m", "n"), [(6, 3), (12, 5), (20, 20)])
def test_exact_p_values_are_scipys(m: int, n: int) -> None:
    noise = random.Random(m)
    for margin in (0.0, 0.7):
        base = sorted(noise.gauss(0, 1) for _ in range(m))
        after = [noise.gauss(0, 1) for _ in range(n)]
        theirs = stats.mannwhitneyu(
            [v - margin for v in after], base, alternative="less", method="exact"
        )
        assert lower_p(after, base, margin) == pytest.approx(theirs.pvalue)


def test_large_p_values_are_scipys() -> None:
    noise = random.Random(1)
    base = sorted(noise.gauss(0, 1) for _ in range(100))
    after = [noise.gauss(-0.3, 1) for _ in range(60)]
    theirs = stats.mannwhitneyu(after, base, alternative="less", method="asymptotic")

    assert lower_p(after, base, 0.0) == pytest.approx(theirs.pvalue, rel=1e-6)


def test_ties_speak_against_the_firmware_and_nothing_known_proves_nothing() -> None:
    assert lower_p([1.0] * 10, [1.0] * 10, 0.0) == pytest.approx(1.0)
    assert lower_p([], [1.0], 0.0) == 1
    assert lower_p([1.0], [], 0.0) == 1
    assert lower_p([20.4] * 10, [20.1] * 10, 0.3) == pytest.approx(1.0), "0.3 is not binary"


@pytest.mark.parametrize("nu", [5, 10, 38, 158])
@pytest.mark.parametrize("t", [-60.0, -3.0, -0.2, 0.0, 0.7, 2.5, 9.0, 60.0])
@pytest.mark.parametrize("delta", [0.5, 3.0, 12.0])
def test_the_noncentral_t_density_is_scipys(t: float, nu: int, delta: float) -> None:
    theirs = float(stats.nct.pdf(t, nu, delta))
    if not theirs > 1e-12:
        return  # scipy gives 0 or NaN in the far tails: the direct evaluation covers them
    ours = math.exp(log_ratio(t, nu, delta)) * float(stats.t.pdf(t, nu))

    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("nu", [5, 38, 158])
@pytest.mark.parametrize("t", [-60.0, -3.0, 0.7, 9.0, 60.0])
@pytest.mark.parametrize("delta", [0.5, 3.0, 25.0])
def test_the_ratio_is_the_integral_over_the_variance(t: float, nu: int, delta: float) -> None:
    """A direct evaluation: T is normal(delta, 1) over the root of chi-square / nu."""
    s = np.linspace(1e-6, 6, 200_001)
    weight = nu * np.log(s) - nu * s * s / 2

    def log_density(shift: float) -> float:
        logs = weight - (t * s - shift) ** 2 / 2
        return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))

    expected = log_density(delta) - log_density(0.0)
    assert log_ratio(t, nu, delta) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_e_value_is_the_mean_over_the_effects() -> None:
    noise = random.Random(7)
    base = [noise.gauss(100, 2) for _ in range(30)]
    after = [noise.gauss(102, 2) for _ in range(12)]
    mixture = TMixture(base, 0.5)
    for value in after:
        mixture.observe(value)

    root = math.sqrt(30 * 12 / 42)
    t = stats.ttest_ind([v - 0.5 for v in after], base).statistic
    ratios = [stats.nct.pdf(t, 40, d * root) / stats.t.pdf(t, 40) for d in EFFECTS]
    assert mixture.value == pytest.approx(sum(ratios) / 4, rel=1e-6)


def test_the_t_mixture_rarely_wins_on_gaussian_noise_and_soon_on_a_shift() -> None:
    noise = random.Random(1)
    won, delays = 0, []
    for run in range(300):
        shift = 2.0 if run % 3 == 0 else 0.0
        mixture = TMixture([noise.gauss(0, 1) for _ in range(30)], 0.0)
        for _ in range(40):
            mixture.observe(noise.gauss(shift, 1))
            if mixture.peak >= 100:
                break
        if shift:
            delays.append(mixture.state()["n"])
        else:
            won += mixture.peak >= 100

    assert won <= 6
    assert sorted(delays)[50] <= 7


def test_a_t_mixture_goes_on_exactly_and_bears_a_constant_metric() -> None:
    straight, broken = TMixture([1.0, 2.0, 3.0], 0.0), TMixture([1.0, 2.0, 3.0], 0.0)
    for value in (2.5, 3.5, 2.0, 9.0):
        straight.observe(value)
        broken.observe(value)
        saved = json.loads(json.dumps(broken.state(), allow_nan=False))
        broken = TMixture([1.0, 2.0, 3.0], 0.0)
        broken.restore(saved)
    constant = TMixture([5.0] * 20, 0.0)
    constant.observe(5.0)

    assert broken.state() == straight.state()
    assert constant.value == 1
