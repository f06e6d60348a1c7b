"""Ranks, ties, onset and bets, against direct evaluation."""

from __future__ import annotations

import importlib
import json
import math
import random

import pytest

from cryofw.health.onset import Onset
from cryofw.health.ranks import RankBook
from cryofw.health.shift import ShiftTest
from cryofw.health.tiebreak import TieBreaker
from cryofw.health.wager import POWERS, Wager

stats = importlib.import_module("scipy.stats")


def direct_share(
    value: float, base: list[float], later: list[float], margin: float, u: float
) -> float:
    """The smoothed conformal rank, from its definition."""
    bag = [*base, *(v - margin for v in later)]
    mine = value - margin
    below = sum(v < mine for v in bag)
    equal = sum(v == mine for v in bag) + 1
    return (below + u * equal) / (len(bag) + 1)


def direct_wealth(shares: list[float], onset: Onset) -> float:
    """The mixture over powers and onsets, from its definition."""
    n = len(shares)
    wealth = 1 - sum(onset.share(s) for s in range(1, n + 1))
    for start in range(1, n + 1):
        products = [math.prod(k * u ** (k - 1) for u in shares[start - 1 :]) for k in POWERS]
        wealth += onset.share(start) * sum(products) / len(POWERS)
    return wealth


@pytest.mark.parametrize("coarse", [False, True])
def test_shares_are_the_smoothed_conformal_ranks(coarse: bool) -> None:
    noise = random.Random(4)
    # Eighths are exact in binary, so that the definition above sees the same ties.

    def draw() -> float:
        return noise.randrange(8) / 8 if coarse else noise.gauss(0, 1)

    base = [draw() for _ in range(30)]
    later: list[float] = []
    book = RankBook(base)
    for _ in range(40):
        value, u = draw(), noise.random()
        shares = book.place(value, (0.0, 0.5, -0.25), u)
        for share, margin in zip(shares, (0.0, 0.5, -0.25), strict=True):
            assert share == pytest.approx(direct_share(value, base, later, margin, u))
        later.append(value)


def test_a_margin_that_is_no_binary_fraction_keeps_the_ties() -> None:
    """Values in steps of 0.1, worse by exactly the margin: none may look worse than all."""
    base = [0.1] * 10
    book = RankBook(base)

    (share,) = book.place(0.8, (0.7,), 0.5)

    assert base[0] < 0.8 - 0.7, "the example shows nothing"
    assert share == pytest.approx(0.5)


def test_ranks_of_exchangeable_values_are_uniform_and_independent() -> None:
    noise = random.Random(11)
    firsts, products = [], []
    for run in range(1500):
        ties = TieBreaker(f"run {run}".encode())
        book = RankBook(noise.expovariate(1) for _ in range(12))
        shares = [book.place(noise.expovariate(1), (0.0,), ties.uniform(i))[0] for i in range(6)]
        firsts.append(shares[0])
        products.append((shares[0] - 0.5) * (shares[5] - 0.5))

    assert stats.kstest(firsts, "uniform").pvalue > 0.01
    mean = sum(products) / len(products)
    assert abs(mean) < 3 * (1 / 12) / math.sqrt(len(products))


def test_tie_breaks_are_uniform_repeatable_and_differ_by_stream() -> None:
    first, again, other = TieBreaker(b"a"), TieBreaker(b"a"), TieBreaker(b"b")
    numbers = [first.uniform(i) for i in range(4000)]

    assert [again.uniform(i) for i in reversed(range(4000))] == numbers[::-1]
    assert stats.kstest(numbers, "uniform").pvalue > 0.01
    assert [other.uniform(i) for i in range(8)] != numbers[:8]
    assert all(0 < number < 1 for number in numbers)


@pytest.mark.parametrize("onset", [Onset(1), Onset(2), Onset(60), Onset(60, 0.01, 0.89)])
def test_the_shares_of_the_stake_never_sum_above_one(onset: Onset) -> None:
    shares = [onset.share(block) for block in range(1, 40 * onset.horizon)]

    assert min(shares) > 0
    assert sum(shares[: onset.horizon]) == pytest.approx(onset.first + onset.planned)
    assert 0.97 < sum(shares) < 1 + 1e-12


def test_wealth_is_the_mixture_over_powers_and_onsets() -> None:
    noise = random.Random(2)
    shares = [noise.random() for _ in range(25)]
    wager, onset = Wager(Onset(20)), Onset(20)
    for n, share in enumerate(shares, 1):
        assert wager.pay(share) == pytest.approx(direct_wealth(shares[:n], onset))
    assert wager.peak == max(direct_wealth(shares[:n], onset) for n in range(26))


@pytest.mark.parametrize("before", [[], [0.99] * 6, [0.2, 0.9, 0.5]])
def test_the_next_bet_is_fair(before: list[float]) -> None:
    """The mean of the wealth over a uniform share is the wealth before: a martingale."""
    integrate = importlib.import_module("scipy.integrate")
    wager = Wager(Onset(20))
    for share in before:
        wager.pay(share)

    def after(share: float) -> float:
        branch = Wager(Onset(20))
        for earlier in before:
            branch.pay(earlier)
        return branch.pay(share)

    mean, _ = integrate.quad(after, 0, 1, epsabs=1e-10)
    assert mean == pytest.approx(wager.value)


def test_a_bet_that_won_everything_stays_finite() -> None:
    wager = Wager(Onset(10))
    for _ in range(5000):
        wager.pay(1 - 1e-12)

    assert math.isfinite(wager.value)
    assert wager.peak > 1e200
    json.dumps(wager.state(), allow_nan=False)


def test_a_late_fault_is_found_although_early_bets_lost() -> None:
    wager = Wager(Onset(60))
    for _ in range(40):
        wager.pay(0.3)
    for _ in range(8):
        wager.pay(0.97)

    assert wager.value > 100


def test_a_fair_stream_rarely_wins() -> None:
    """Ville: of 2000 healthy streams at most 1 % reach 100, in 60 looks each."""
    noise = random.Random(8)
    won = 0
    for run in range(2000):
        test = ShiftTest(
            [noise.gauss(0, 1) for _ in range(40)], ((0.0, 1),), 60, f"{run}".encode(), length=1
        )
        for _ in range(60):
            test.observe(noise.gauss(0, 1))
        won += test.wagers[0].peak >= 100

    assert won <= 30
    assert stats.binomtest(won, 2000, 0.01, alternative="greater").pvalue > 0.01


def test_both_directions_of_a_shift_are_seen_by_their_own_bet() -> None:
    noise = random.Random(3)
    for move, winner in ((3.0, 0), (-3.0, 1)):
        test = ShiftTest(
            [noise.gauss(0, 1) for _ in range(60)], ((1.0, 1), (-1.0, -1)), 30, b"", length=1
        )
        for _ in range(20):
            test.observe(noise.gauss(move, 1))
        assert test.wagers[winner].peak > 100
        assert test.wagers[1 - winner].peak < 2


def test_a_shift_test_goes_on_exactly_where_it_was() -> None:
    noise = random.Random(5)
    base = [noise.gauss(0, 1) for _ in range(40)]
    values = [round(noise.gauss(0.5, 1), 1) for _ in range(50)]
    straight = ShiftTest(base, ((0.0, 1), (2.0, -1)), 50, b"x", length=3)
    for value in values:
        straight.observe(value)

    broken = ShiftTest(base, ((0.0, 1), (2.0, -1)), 50, b"x", length=3)
    for i, value in enumerate(values):
        broken.observe(value)
        if i in {7, 20}:
            saved = json.loads(json.dumps(broken.state(), allow_nan=False))
            broken = ShiftTest(base, ((0.0, 1), (2.0, -1)), 50, b"x", length=3)
            broken.restore(saved)

    assert broken.state() == straight.state()
