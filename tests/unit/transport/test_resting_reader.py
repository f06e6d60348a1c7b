"""A descriptor that is left alone for a moment: nothing is lost, and one call tells it all."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import termios
import tty
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cryofw.transport import DescriptorStream, RestingReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cryofw.transport import StreamLost

NEVER_S = 3600.0


class Reader:
    """Hears what comes, and rests so long after each time."""

    def __init__(self, stream: DescriptorStream, rest_s: float | None = None) -> None:
        self.told: list[bytes] = []
        self.ends: list[StreamLost | None] = []
        self.rest_s = rest_s
        self._stream = stream
        self._news = asyncio.Event()
        stream.listen(self._receive, self._end)

    def _receive(self, data: bytes) -> None:
        self.told.append(data)
        self._news.set()
        if self.rest_s is not None:
            self._stream.rest(self.rest_s)

    def _end(self, error: StreamLost | None) -> None:
        self.ends.append(error)
        self._news.set()

    async def next(self) -> None:
        async with asyncio.timeout(10):
            await self._news.wait()
        self._news.clear()


@asynccontextmanager
async def both_ends() -> AsyncIterator[tuple[int, int, DescriptorStream]]:
    far, near = os.openpty()
    tty.setraw(near)
    stream = DescriptorStream(near, name="pty", on_close=lambda: os.close(near))
    try:
        yield far, near, stream
    finally:
        await stream.close()
        os.close(far)


@asynccontextmanager
async def line() -> AsyncIterator[tuple[int, DescriptorStream]]:
    async with both_ends() as (far, _, stream):
        yield far, stream


async def arrived(descriptor: int, count: int) -> None:
    """Wait until the kernel holds so many bytes for the reader."""
    waiting = array.array("i", [0])
    async with asyncio.timeout(10):
        while waiting[0] < count:
            fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
            await asyncio.sleep(0)


async def turns_of_the_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_comes_in_a_rest_is_told_at_its_end() -> None:
    async def main() -> None:
        async with both_ends() as (far, near, stream):
            assert isinstance(stream, RestingReader)
            reader = Reader(stream, rest_s=NEVER_S)
            os.write(far, b"one")
            await reader.next()
            os.write(far, b"two")
            await turns_of_the_loop()
            os.write(far, b"three")
            await arrived(near, 8)  # the kernel carries bytes through a pty in its own time
            assert reader.told == [b"one"]
            stream.end_rest()
            await reader.next()
            assert reader.told == [b"one", b"twothree"]

    asyncio.run(main())


def test_one_rest_follows_another_and_then_the_line_is_watched_again() -> None:
    async def main() -> None:
        async with line() as (far, stream):
            reader = Reader(stream, rest_s=0.001)
            for number in range(5):
                os.write(far, b"%d" % number)
                await reader.next()
            reader.rest_s = None
            os.write(far, b"x")
            await reader.next()
            os.write(far, b"y")
            await reader.next()
            assert b"".join(reader.told) == b"01234xy"

    asyncio.run(main())


def test_a_rest_without_news_ends_with_watching() -> None:
    async def main() -> None:
        async with line() as (far, stream):
            reader = Reader(stream)
            stream.rest(0.001)
            await asyncio.sleep(0.01)
            os.write(far, b"late")
            await reader.next()
            assert reader.told == [b"late"]

    asyncio.run(main())


def test_a_stream_may_be_closed_in_a_rest() -> None:
    async def main() -> None:
        async with line() as (far, stream):
            reader = Reader(stream, rest_s=0.001)
            os.write(far, b"one")
            await reader.next()
            await stream.close()
            stream.end_rest()
            await asyncio.sleep(0.005)
            assert (reader.told, reader.ends) == ([b"one"], [])

    asyncio.run(main())
