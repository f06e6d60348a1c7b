"""memory_pair: order, backpressure-free delivery, closing, cutting; in virtual time."""

import asyncio

import pytest

from cryofw.engine.virtual_time import run_virtual
from cryofw.transport import StreamLost, memory_pair


def test_bytes_arrive_in_order_both_ways() -> None:
    async def run() -> None:
        near, far = memory_pair()
        await near.write(b"one")
        await near.write(b"two")
        await far.write(b"back")
        assert await far.read() == b"onetwo"
        assert await near.read(2) == b"ba"
        assert await near.read(2) == b"ck"

    run_virtual(run())


def test_a_cancelled_read_loses_nothing() -> None:
    async def run() -> None:
        near, far = memory_pair()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await far.read()
        await near.write(b"kept")
        assert await far.read() == b"kept"

    run_virtual(run())


def test_closing_lets_the_other_end_read_the_rest_then_end() -> None:
    async def run() -> None:
        near, far = memory_pair()
        await near.write(b"last words")
        await near.close()
        await near.close()
        assert await far.read() == b"last words"
        assert await far.read() == b""
        with pytest.raises(StreamLost, match="closed"):
            await near.read()
        with pytest.raises(StreamLost):
            await far.write(b"to nobody")

    run_virtual(run())


def test_cutting_wakes_readers_on_both_ends() -> None:
    async def run() -> None:
        near, far = memory_pair("c1-a")
        readers = [asyncio.create_task(end.read()) for end in (near, far)]
        await asyncio.sleep(0)
        near.cut()
        outcomes = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StreamLost, StreamLost]
        assert "c1-a" in str(outcomes[0])

    run_virtual(run())
