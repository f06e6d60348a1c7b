"""A pool goes on as far as its slowest member, in whatever order members report and leave."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.health import MetricContract, Worse
from cryofw.health.pool import MOST_NAMED, Pool

SNR = MetricContract("snr", "dB", Worse.LOWER, margin=0.1, reject=1.0)
SIX = tuple("abcdef")


def pool_of(names: tuple[str, ...]) -> Pool:
    baselines = {name: dict.fromkeys(range(12), float(i)) for i, name in enumerate(names)}
    return Pool(SNR, baselines, 30, 1000.0, b"pool")


@given(st.lists(st.tuples(st.sampled_from(SIX), st.integers(-1, 9)), max_size=80))
@settings(max_examples=200, deadline=None)
def test_a_pool_is_as_far_as_its_slowest_member(said: list[tuple[str, int]]) -> None:
    pool = pool_of(SIX)
    at = dict.fromkeys(SIX, -1)
    done, values = -1, dict[int, int]()
    for name, index in said:
        if index < 0:
            pool.drop(name)
            at.pop(name, None)
        elif name in at:
            pool.observe(name, index, 1.0)
            if index > max(at[name], done):
                at[name] = index
                values[index] = values.get(index, 0) + 1
        done = max(done, min(at.values(), default=done))
        complete = [i for i, count in values.items() if i <= done and count >= pool.need]
        assert pool.count == len(complete)


def test_many_members_are_counted_and_not_named() -> None:
    few = tuple(f"d{i}" for i in range(MOST_NAMED))
    assert pool_of(few).evidence()["members"] == sorted(few)
    assert pool_of((*few, "one more")).evidence()["members"] == MOST_NAMED + 1
