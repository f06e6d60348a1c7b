"""A line that is lost in the middle of a write is told once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from cryofw.device.session import Session
from cryofw.smp import Op, Request
from cryofw.transport import StreamLost


class BreaksInTheWrite:
    """A stream whose reader and writer both find out, the reader first."""

    def __init__(self) -> None:
        self._broken = asyncio.Event()

    async def read(self, max_bytes: int = 65536) -> bytes:
        await self._broken.wait()
        raise StreamLost("the line is lost")

    async def write(self, data: bytes) -> None:
        self._broken.set()
        await asyncio.sleep(0.01)
        raise StreamLost("the line is lost")

    async def close(self) -> None:
        self._broken.set()


def test_a_line_that_breaks_in_a_write_is_told_once() -> None:
    told: list[dict[str, Any]] = []

    async def exchange() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: told.append(what))
        session = Session(BreaksInTheWrite(), on_event=lambda _event: None)
        with pytest.raises(StreamLost):
            await session.exchange(Request(Op.READ, 0, 0), timeout_s=1)
        await session.close()
        gc.collect()

    asyncio.run(exchange())

    assert told == []
