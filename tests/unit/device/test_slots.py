"""Slots: first come first served, alone or beside others, whoever is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st

from cryofw.device.slots import Slots
from cryofw.engine.virtual_time import run_virtual


async def visit(slots: Slots, log: list[str], name: str, *, alone: bool, stays_s: float) -> None:
    async with slots.hold(alone=alone):
        log.append(name)
        await asyncio.sleep(stays_s)
    log.append(name.upper())


def test_one_place_is_taken_in_the_order_of_asking() -> None:
    async def run() -> list[str]:
        slots, log = Slots(), list[str]()
        names = ["a", "b", "c"]
        await asyncio.gather(*(visit(slots, log, n, alone=n == "b", stays_s=1) for n in names))
        assert slots.taken == 0
        return log

    assert run_virtual(run()) == ["a", "A", "b", "B", "c", "C"]


def test_who_must_be_alone_is_not_starved() -> None:
    """Later ordinary requests wait behind it, although there is room for them."""

    async def run() -> list[str]:
        slots, log = Slots(), list[str]()
        slots.capacity = 3
        await asyncio.gather(
            visit(slots, log, "a", alone=False, stays_s=1),
            visit(slots, log, "x", alone=True, stays_s=1),
            visit(slots, log, "b", alone=False, stays_s=2),
            visit(slots, log, "c", alone=False, stays_s=1),
        )
        return log

    assert run_virtual(run()) == ["a", "A", "x", "X", "b", "c", "C", "B"]


def test_a_stream_lets_waiting_requests_in_and_is_told_when_it_may_go_on() -> None:
    async def run() -> None:
        slots = Slots()
        freed: list[int] = []
        slots.on_free = lambda: freed.append(slots.taken)
        slots.capacity = 2
        assert slots.try_take()
        assert slots.try_take()
        assert not slots.try_take()
        async with AsyncExitStack() as stack:
            asking = asyncio.create_task(stack.enter_async_context(slots.hold()))
            await asyncio.sleep(0)
            slots.give()
            assert not freed, "the place went to who waited"
            assert not slots.try_take()
            await asking
            assert slots.taken == 2
        assert freed == [1]
        slots.give()
        assert slots.try_take()

    run_virtual(run())


def test_a_smaller_window_lets_nobody_in_until_it_has_emptied() -> None:
    async def run() -> None:
        slots = Slots()
        slots.capacity = 3
        assert all(slots.try_take() for _ in range(3))
        slots.capacity = 1
        slots.give()
        slots.give()
        assert not slots.try_take()
        slots.give()
        assert slots.try_take()

    run_virtual(run())


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(0, 3), st.integers(0, 3), st.none() | st.integers(0, 9)
        )
    ),
    st.integers(1, 4),
)
def test_cancelled_or_not_all_places_come_back(
    visits: list[tuple[bool, int, int, int | None]], capacity: int
) -> None:
    async def run() -> None:
        slots = Slots()
        slots.capacity = capacity
        inside: list[bool] = []
        finished = 0

        async def one(alone: bool, after_s: int, stays_s: int) -> None:
            nonlocal finished
            await asyncio.sleep(after_s)
            async with slots.hold(alone=alone):
                inside.append(alone)
                assert len(inside) <= capacity
                assert inside == [True] or not any(inside)
                try:
                    await asyncio.sleep(stays_s)
                finally:
                    inside.remove(alone)
            finished += 1

        tasks = [asyncio.create_task(one(*visit[:3])) for visit in visits]
        for task, (_, _, _, cancel_s) in zip(tasks, visits, strict=True):
            if cancel_s is not None:
                asyncio.get_running_loop().call_later(cancel_s, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert slots.taken == 0
        assert slots.try_take()
        assert finished == sum(result is None for result in results)
        assert all(
            result is None or isinstance(result, asyncio.CancelledError) for result in results
        )

    run_virtual(run())


def test_who_must_wait_is_told_of() -> None:
    async def run() -> None:
        slots = Slots()
        told: list[bool] = []

        async def visit() -> None:
            async with slots.hold():
                pass

        slots.on_wait = lambda: told.append(slots.wanted)
        async with slots.hold():
            assert (told, slots.wanted) == ([], False)
            waiting = asyncio.create_task(visit())
            await asyncio.sleep(0)
            assert told == [True]
        await waiting
        assert not slots.wanted

    run_virtual(run())
