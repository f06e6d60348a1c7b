"""The e-detector keeps its rate of false alarms, and the beginning of a change is found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryofw.health.drift_evidence import DriftDetector, follow
from cryofw.health.drift_onset import estimate_beginning, slope
from tests.bench.drift import Row, noise
from tests.bench.health import wilson

STAKE_DAYS = 0.25
BASELINE, JUDGED = 30, 80
ONE_IN_DAYS = 100.0
PROMISED = JUDGED * STAKE_DAYS / ONE_IN_DAYS


def alarms(row: Row, runs: int) -> int:
    """Of series of unblocked noise."""
    rng = np.random.default_rng(4)
    count = 0
    for run in range(runs):
        values = noise(row, rng, BASELINE + JUDGED).tolist()
        course = follow(values, BASELINE, STAKE_DAYS, ONE_IN_DAYS, str(run).encode())
        count += course.alarm is not None
    return count


@pytest.mark.parametrize(
    "row", [Row("white"), Row("t2.2", tails="t2.2"), Row("spikes", tails="spikes")]
)
def test_false_alarms_stay_below_what_is_promised(row: Row) -> None:
    low, _ = wilson(alarms(row, 500), 500)

    assert low <= PROMISED


def test_noise_that_is_not_exchangeable_would_be_noticed_here() -> None:
    """The counterpart: what the blocks are for, and that the test above can fail."""
    low, _ = wilson(alarms(Row("rho .8", rho=0.8), 200), 200)

    assert low > PROMISED


def test_stake_and_bets_are_those_of_shiryaev_and_roberts() -> None:
    """The evidence is the mean of S = (stake + S) k u^(k-1), recomputed here from the ranks."""
    values = [3.0, 1.0, 2.0, 9.0, 0.5, 10.0]
    detector = DriftDetector([5.0, 6.0, 7.0, 8.0], 0.5, b"seed")
    seen = [5.0, 6.0, 7.0, 8.0]
    sums: dict[tuple[float, int], tuple[float, float]] = {}
    for value in values:
        detector.observe(value)
        seen.append(value)
        low = sum(one < value for one in seen) / len(seen)
        for k in (1.5, 2.0, 3.0, 5.0, 9.0):
            for sign in (1, -1):
                least, most = sums.get((k, sign), (0.0, 0.0))
                shares = (low, low + 1 / len(seen))
                bets = sorted(k * (u if sign > 0 else 1 - u) ** (k - 1) for u in shares)
                sums[k, sign] = ((least + 0.5) * bets[0], (most + 0.5) * bets[1])

    assert sum(low for low, _ in sums.values()) / 10 <= detector.evidence
    assert detector.evidence <= sum(high for _, high in sums.values()) / 10


@pytest.mark.parametrize("sign", [1, -1])
def test_a_ramp_in_either_direction_is_found(sign: int) -> None:
    rng = np.random.default_rng(1)
    ramp = np.maximum(0, np.arange(110) - 60) * 0.15 * sign
    course = follow((rng.normal(size=110) + ramp).tolist(), 30, 0.25, 1e5, b"x")

    assert course.alarm is not None
    assert 60 < course.alarm < 100
    assert course.up is (sign > 0)


def test_evidence_never_overflows() -> None:
    course = follow([float(n) for n in range(3000)], 30, 0.25, 1e5, b"x")

    assert math.isfinite(course.evidence)
    assert course.alarm is not None


def test_a_frozen_value_is_no_evidence() -> None:
    assert follow([27.0] * 300, 30, 0.25, 1e5, b"x").alarm is None


@pytest.mark.parametrize("gradual", [True, False])
def test_the_beginning_lies_in_its_range(gradual: bool) -> None:
    rng = np.random.default_rng(2)
    times = np.arange(120) / 4
    fault = np.maximum(0, times - 15) * 0.4 if gradual else 3.0 * (times >= 15)
    values = (rng.normal(size=120) * 0.5 + fault).tolist()
    found = estimate_beginning(times.tolist(), values, 110)

    assert found.gradual is gradual
    assert times[found.earliest - 1] <= 15 <= times[found.latest] + 0.25
    assert times[found.latest] - times[found.earliest] < 8
    assert found.earliest <= found.at <= found.latest


def test_a_perfect_step_is_placed_exactly() -> None:
    found = estimate_beginning([0.0, 1, 2, 3, 4, 5, 6, 7], [1.0, 1, 1, 1, 4, 4, 4, 4], 7)

    assert (found.at, found.gradual) == (4, False)


def test_the_rate_does_not_mind_an_outlier() -> None:
    assert slope([0.0, 1, 2, 3, 4], [0.0, 2, 400, 6, 8]) == pytest.approx(2)
    assert slope([1.0], [5.0]) == 0
