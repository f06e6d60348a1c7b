"""Virtual time: it jumps, it never waits, and nothing real is in it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from cryofw.engine.virtual_time import (
    LoopClock,
    StoppedClock,
    SystemClock,
    VirtualDeadlock,
    VirtualTimeLoop,
    run_virtual,
)


def test_hours_pass_at_once_and_in_order() -> None:
    seen: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((asyncio.get_running_loop().time(), name))

    async def main() -> None:
        await asyncio.gather(sleeper("long", 7200), sleeper("short", 1), sleeper("same", 7200))

    before_s = time.monotonic()
    run_virtual(main())
    assert time.monotonic() - before_s < 5
    assert [name for _, name in seen] == ["short", "long", "same"]
    assert [t for t, _ in seen] == [1, 7200, 7200]


def test_it_starts_where_it_is_told() -> None:
    async def main() -> tuple[float, datetime]:
        clock = LoopClock(datetime(2026, 1, 1, tzinfo=UTC))
        await clock.sleep(60)
        return clock.monotonic(), clock.now()

    assert run_virtual(main(), start_s=3600) == (3660, datetime(2026, 1, 1, 1, 1, tzinfo=UTC))


def test_a_timeout_is_a_timer_too() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(40):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 40


def test_waiting_for_nothing_is_an_error_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(VirtualDeadlock, match="no timer"):
        run_virtual(main())


def test_there_are_no_threads_in_virtual_time() -> None:
    async def main() -> None:
        await asyncio.to_thread(time.monotonic)

    with pytest.raises(RuntimeError, match="no executors"):
        run_virtual(main())


def test_two_runs_are_the_same_run() -> None:
    async def main() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []

        async def worker(number: int) -> None:
            for step in range(20):
                await asyncio.sleep(0.1 * ((number * 7 + step) % 5))
                seen.append((asyncio.get_running_loop().time(), number))

        await asyncio.gather(*(worker(n) for n in range(10)))
        return seen

    assert run_virtual(main()) == run_virtual(main())


def test_real_clocks_run_and_stopped_ones_do_not() -> None:
    async def main() -> None:
        clock = SystemClock()
        before = clock.monotonic()
        await clock.sleep(0)
        assert clock.monotonic() >= before
        assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5

    asyncio.run(main())
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert StoppedClock(moment).now() == moment
    with pytest.raises(RuntimeError, match="cannot sleep"), asyncio.Runner() as runner:
        runner.run(StoppedClock(moment).sleep(1))


def test_the_loop_can_be_used_by_a_runner() -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(asyncio.sleep(10, "done")) == "done"


@pytest.mark.parametrize("others", [0, 7, 3000])
def test_timers_of_one_moment_come_in_the_order_they_were_set_in(others: int) -> None:
    """Whatever else is waited for, and whatever of it was given up."""
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        given_up = []
        for number in range(40):
            loop.call_at(10.0, seen.append, number)
            for other in range(others // 40 + 1):
                timer = loop.call_at(5.0 + (other * 7 + number) % 11, lambda: None)
                given_up += [timer] * (other % 4 > 0)
        for timer in given_up:
            timer.cancel()
            timer.cancel()
        await asyncio.sleep(20)
        assert loop.time() == 20

    run_virtual(main())
    assert seen == list(range(40))
