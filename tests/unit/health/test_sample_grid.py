"""The grid on which devices and controls are compared."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.health.grid import SampleGrid

EVERY_S = 5.0


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.49, 0.5, 0.51, 0.75, 0.99])
def test_a_jitter_at_any_phase_loses_no_sample(phase: float) -> None:
    """Rounded to a common grid, the phase .5 kept every second sample only."""
    grid, chance = SampleGrid(EVERY_S), random.Random(1)
    assert grid.slot("control", 0.0) == 0
    slots = [
        grid.slot("device", (n + phase) * EVERY_S + chance.uniform(-0.02, 0.02) * EVERY_S)
        for n in range(1, 61)
    ]
    assert slots == list(range(slots[0] or 0, (slots[0] or 0) + 60))


def test_a_phase_that_a_busy_line_moves_slowly_is_followed() -> None:
    grid = SampleGrid(EVERY_S)
    slots = [grid.slot("device", n * EVERY_S * 1.004) for n in range(250)]
    assert len(set(slots)) == 250


def test_who_samples_twice_as_fast_does_not_run_ahead() -> None:
    grid = SampleGrid(EVERY_S)
    last = [grid.slot("device", n * EVERY_S / 2) for n in range(200)][-1]
    assert last is not None
    assert last <= 101


def test_after_a_gap_the_phase_is_taken_anew() -> None:
    grid = SampleGrid(EVERY_S)
    assert [grid.slot("device", n * EVERY_S) for n in range(4)] == [0, 1, 2, 3]
    assert [grid.slot("device", (n + 0.5) * EVERY_S) for n in range(10, 13)] == [10, 11, 12]


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_slot_is_near_its_time_and_late_samples_have_none(times: list[float]) -> None:
    grid, latest = SampleGrid(EVERY_S), -1.0
    start_s = times[0] if times else 0.0
    for t_s in times:
        slot = grid.slot("device", t_s)
        if t_s <= latest:
            assert slot is None
        if slot is not None:
            assert abs(slot - (t_s - start_s) / EVERY_S) <= 1.25
            latest = t_s
